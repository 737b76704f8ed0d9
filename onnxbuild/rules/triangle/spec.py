"""The rule ``triangle``: what a recipe may say. The work is in `onnxbuild.rules.triangle.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Triangle(Rule):
    """Compute `triu` and `tril` by comparing positions, for opsets without `Trilu`."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.triangle.run:apply"
