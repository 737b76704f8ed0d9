"""The rule ``unique``: what a recipe may say. The work is in `onnxbuild.rules.unique.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique(Rule):
    """Give the inverse of `unique` the shape of what it is of."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.unique.run:apply"
