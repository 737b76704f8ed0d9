"""The rule ``searchsorted``: what a recipe may say. The work is in `onnxbuild.rules.searchsorted.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSorted(Rule):
    """Compute `searchsorted` by counting the values that are smaller."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.searchsorted.run:apply"
