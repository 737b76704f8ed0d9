"""The rule ``fuse_layer_norm``: what a recipe may say. The work is in `onnxbuild.rules.fuse_layer_norm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseLayerNorm(Rule):
    """Put the nodes of a layer normalization together to one `LayerNormalization`, from opset 17 on."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.fuse_layer_norm.run:apply"
