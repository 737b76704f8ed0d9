"""The rule ``fuse_attention``: what a recipe may say. The work is in `onnxbuild.rules.fuse_attention.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseAttention(Rule):
    """Put the matrix products and the softmax of an attention together to one `Attention`, from opset 23 on."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.fuse_attention.run:apply"
