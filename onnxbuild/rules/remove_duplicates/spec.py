"""The rule ``remove_duplicates``: what a recipe may say. The work is in `onnxbuild.rules.remove_duplicates.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDuplicates(Rule):
    """Compute once what is computed twice from the same values."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.remove_duplicates.run:apply"
