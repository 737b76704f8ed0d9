"""The rule ``einsum``: what a recipe may say. The work is in `onnxbuild.rules.einsum.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Einsum(Rule):
    """Compute `einsum` as transpositions, matrix products and sums, for opsets without it."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.einsum.run:apply"
