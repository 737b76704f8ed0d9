"""The rule ``grid_sample``: what a recipe may say. The work is in `onnxbuild.rules.grid_sample.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSample(Rule):
    """Compute `grid_sample` from gathered corners and weights: 4-D and 5-D, all modes and paddings, any opset."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.grid_sample.run:apply"
