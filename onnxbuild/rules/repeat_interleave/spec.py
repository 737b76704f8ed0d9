"""The rule ``repeat_interleave``: what a recipe may say. The work is in `onnxbuild.rules.repeat_interleave.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatInterleave(Rule):
    """Compute `repeat_interleave` for sizes and counts that vary, counts of zero too."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.repeat_interleave.run:apply"
