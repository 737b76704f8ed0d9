"""The rule ``fuse_rms_norm``: what a recipe may say. The work is in `onnxbuild.rules.fuse_rms_norm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseRmsNorm(Rule):
    """Put the nodes of an RMS normalization together to one node.

    `RMSNormalization` from opset 23 on; below, onnxruntime's own `SimplifiedLayerNormalization` where `target` allows.
    """

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.fuse_rms_norm.run:apply"

    target: Literal["onnx", "onnxruntime"] = "onnx"
    """Whose operators the graph may have."""
