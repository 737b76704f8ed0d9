"""The rule ``cdist``: what a recipe may say. The work is in `onnxbuild.rules.cdist.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Cdist(Rule):
    """Compute `cdist` for any norm as differences, powers and sums."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.cdist.run:apply"
