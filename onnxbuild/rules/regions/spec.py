"""The rule ``regions``: what a recipe may say. The work is in `onnxbuild.rules.regions.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions(Rule):
    """Write torchvision's `nms`, `roi_align` and `roi_pool` with what ONNX has for regions of an image."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.regions.run:apply"
