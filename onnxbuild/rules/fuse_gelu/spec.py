"""The rule ``fuse_gelu``: what a recipe may say. The work is in `onnxbuild.rules.fuse_gelu.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseGelu(Rule):
    """Put the nodes of an exact or tanh GELU together to one `Gelu`, from opset 20 on."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.fuse_gelu.run:apply"
