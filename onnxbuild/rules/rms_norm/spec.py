"""The rule ``rms_norm``: what a recipe may say. The work is in `onnxbuild.rules.rms_norm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RmsNorm(Rule):
    """Compute `rms_norm` as a mean of squares and a root."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.rms_norm.run:apply"
