"""The rule ``tie_weights``: what a recipe may say. The work is in `onnxbuild.rules.tie_weights.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class TieWeights(Rule):
    """Store once the weights that are there several times."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.tie_weights.run:apply"
