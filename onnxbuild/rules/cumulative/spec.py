"""The rule ``cumulative``: what a recipe may say. The work is in `onnxbuild.rules.cumulative.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Cumulative(Rule):
    """Compute `cumsum`, `cumprod`, `cummax`, `cummin` and `logcumsumexp` by comparing positions.

    Takes memory for n² values along the axis, as there is no such operator for most of them.
    """

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.cumulative.run:apply"
