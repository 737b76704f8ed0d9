"""torch's table of translations from ATen to ONNX: made once for all exports of a process and its forks, and added to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.onnx._internal.exporter import _registration

Entries = Sequence[tuple[Any, Callable[..., Any]]]

_added: list[tuple[Any, Callable[..., Any]]] = []
"""What every table gets besides, inside of `added`: overloads of torch's and what translates each."""


def keep_translations() -> None:
    """Have torch make the table once for each opset. Calling it again changes nothing.

    Measured with torch 2.13: each export makes it anew from the source of 500 functions, in 0.36 s, and
    what comes out is the same.
    """
    registry: Any = getattr(_registration, "ONNXRegistry", None)
    make = getattr(registry, "from_torchlib", None)
    if make is None or hasattr(make, "__wrapped__"):
        return
    once = functools.cache(make)

    @functools.wraps(make)
    def from_torchlib(*args: Any, **options: Any) -> Any:
        whole = once(*args, **options)
        copy = registry()
        # A table may be added to, whoever asked for it.
        functions = {target: list(found) for target, found in whole.functions.items()}
        copy.__dict__.update(vars(whole) | {"functions": functions})
        for overload, translate in _added:
            for is_complex in (False, True):
                copy.register_op(overload, translate, is_complex=is_complex)
        return copy

    registry.from_torchlib = staticmethod(from_torchlib)


@contextmanager
def added(entries: Entries) -> Iterator[None]:
    """Have all tables that are made inside of the block translate some overloads otherwise."""
    # The first that is given wins, and torch asks the last that was registered.
    _added.extend(reversed(entries))
    try:
        yield
    finally:
        _added.clear()
