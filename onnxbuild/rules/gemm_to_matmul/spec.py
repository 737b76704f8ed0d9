"""The rule ``gemm_to_matmul``: what a recipe may say. The work is in `onnxbuild.rules.gemm_to_matmul.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmToMatMul(Rule):
    """Make each `Gemm` a `MatMul` and an `Add`."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.gemm_to_matmul.run:apply"
