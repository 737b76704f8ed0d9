"""The rule ``roll``: what a recipe may say. The work is in `onnxbuild.rules.roll.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll(Rule):
    """Compute `roll` for sizes that vary, of a shift over the whole tensor too."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.roll.run:apply"
