"""The rule ``diagonal``: what a recipe may say. The work is in `onnxbuild.rules.diagonal.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagonal(Rule):
    """Compute `diagonal`, `trace`, `diag_embed` and `kron` for sizes that vary, in any opset."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.diagonal.run:apply"
