"""The rule ``unfold``: what a recipe may say. The work is in `onnxbuild.rules.unfold.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfold(Rule):
    """Compute `unfold` and `fold`, of images and of a tensor's axis, for sizes that vary and any opset."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.unfold.run:apply"
