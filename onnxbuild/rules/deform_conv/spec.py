"""The rule ``deform_conv``: what a recipe may say. The work is in `onnxbuild.rules.deform_conv.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class DeformConv(Rule):
    """Write torchvision's `deform_conv2d` as `DeformConv`, and below opset 19 as gathered corners and a matrix product."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.deform_conv.run:apply"

    plain: bool = False
    """Gather corners in every opset, for runtimes that have no `DeformConv`."""
