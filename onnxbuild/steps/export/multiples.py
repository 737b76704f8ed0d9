"""What a size lacks to a multiple, in a form in which torch can reason about it.

Models that cut a picture or a sequence into windows pad it up to a multiple of the window: by ``(4 - height % 4) % 4``,
or by ``-height % 4``. torch.export keeps that as a remainder of a remainder. It does not see that what is padded so can
be divided by 4, and each reshape that follows makes the formulas of sizes longer, until a capture that should take
seconds takes hours. As ``4 * ((height + 3) // 4) - height`` the same number cancels out as soon as it is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils._sympy.functions import FloorDiv, Mod, PythonMod

REMAINDERS = (Mod, PythonMod)
"""torch has one for what is known not to be negative, and one for the rest."""


@contextmanager
def simplified() -> Iterator[None]:
    """Have torch write remainders of what is subtracted from a multiple without a remainder."""
    before = [kind.__dict__["eval"] for kind in REMAINDERS]
    for kind, method in zip(REMAINDERS, before, strict=True):
        kind.eval = classmethod(_rewriting(method.__func__))
    try:
        yield
    finally:
        for kind, method in zip(REMAINDERS, before, strict=True):
            kind.eval = method


def _rewriting(usual: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(kind: Any, number: Any, step: Any) -> Any:
        found = usual(kind, number, step)
        return _lacking(number, step) if found is None else found

    return evaluate


def _lacking(number: Any, step: Any) -> Any:
    """Write the remainder of `number` by `step` without one, where a size is subtracted from a constant."""
    if not (step.is_Integer and step > 1):
        return None
    constant, rest = number.as_coeff_Add()
    factor, size = rest.as_coeff_Mul()
    if factor != -1:
        return None
    if isinstance(size, REMAINDERS) and size.args[1] == step:
        size = size.args[0]
    lower = constant % step - size
    return step * FloorDiv(step - 1 - lower, step) + lower
