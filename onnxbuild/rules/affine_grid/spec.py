"""The rule ``affine_grid``: what a recipe may say. The work is in `onnxbuild.rules.affine_grid.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineGrid(Rule):
    """Compute the grid of `affine_grid` from the sizes that an input has, in any opset."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.affine_grid.run:apply"
