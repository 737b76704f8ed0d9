"""The rule ``plain_attention``: what a recipe may say. The work is in `onnxbuild.rules.plain_attention.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainAttention(Rule):
    """Compute `scaled_dot_product_attention` as matrix products and a softmax, for any opset and grouped heads."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.plain_attention.run:apply"

    only_wrong: bool = False
    """Leave calls of which the exporter's own translation is right."""
