"""Which rule is to blame, where the exported graph gives other numbers than PyTorch: found by exporting without each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxbuild.errors import StepError
from onnxbuild.steps.export.measure import Problem
from onnxbuild.steps.model.user import say

SHARE = 0.1
"""A rule is to blame if without it the error is at most this share of what it is."""


def worst(problems: Sequence[Problem]) -> float:
    """Give the largest error of outputs over their largest value; infinite for a graph that does not run."""
    return max((problem.error for problem in problems), default=0.0)


def find_guilty(
    rules: Sequence[str], error: float, without: Callable[[str], float]
) -> dict[str, Any] | None:
    """Give the rule without which the error goes away, with both figures; None where there is no one such.

    `without` exports without a rule, and gives the error then.
    """
    best: tuple[float, str] | None = None
    for name in rules:
        try:
            found = without(name)
        except StepError as failure:
            say(f"without the rule {name}: {failure.what}")
            continue
        say(f"without the rule {name}: off by {found:.3g}")
        if best is None or found < best[0]:
            best = found, name
    if best is None or not best[0] <= SHARE * error:
        return None
    return {"rule": best[1], "error": error if np.isfinite(error) else None, "without": best[0]}


def tell_guilty(guilty: dict[str, Any]) -> str:
    """Say which rule it is, in words."""
    size = guilty["error"]
    with_it = (
        "the graph does not run"
        if size is None
        else f"it is off by {size:.3g} of the largest value"
    )
    return f"the rule {guilty['rule']!r} is to blame: with it, {with_it}; without it, off by {guilty['without']:.3g}"
