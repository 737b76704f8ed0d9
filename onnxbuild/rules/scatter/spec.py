"""The rule ``scatter``: what a recipe may say. The work is in `onnxbuild.rules.scatter.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter(Rule):
    """Compute `scatter_add`, `scatter_reduce`, `index_add`, `index_put` and `masked_scatter`, with places that repeat, in any opset."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.scatter.run:apply"
