"""The rule ``matmul_to_gemm``: what a recipe may say. The work is in `onnxbuild.rules.matmul_to_gemm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMulToGemm(Rule):
    """Make each `MatMul` of two matrices with an `Add` of a bias one `Gemm`."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.matmul_to_gemm.run:apply"
