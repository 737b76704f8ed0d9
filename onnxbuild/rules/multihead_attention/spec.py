"""The rule ``multihead_attention``: what a recipe may say. The work is in `onnxbuild.rules.multihead_attention.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiheadAttention(Rule):
    """Compute ``nn.MultiheadAttention``, and transformer layers with it, by plain products and a softmax.

    Opsets below 18 need it: TorchScript fixes the sizes in what torch itself does there, or lacks an operator.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.multihead_attention.run:apply"
