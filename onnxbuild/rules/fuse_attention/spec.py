"""The rule ``fuse_attention``: what a recipe may say. The work is in `onnxbuild.rules.fuse_attention.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseAttention(Rule):
    """Put the matrix products and the softmax of an attention together to one `Attention`, from opset 23 on.

    The attentions of onnxruntime's own (``MultiHeadAttention`` and others of ``com.microsoft``), which any opset may
    have, are written by the stage ``transformer_fusion``.
    """

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.fuse_attention.run:apply"
