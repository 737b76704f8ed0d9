"""The rule ``dense_experts``: what a recipe may say. The work is in `onnxbuild.rules.dense_experts.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseExperts(Rule):
    """Compute every expert of a mixture for every token, and weigh what they give by the router, instead of sorting tokens.

    For the experts of ``transformers``, whose grouped products no exporter has. The weights stay constants of
    plain products, so that they can be quantized; the price is the work of the experts that are not chosen.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.dense_experts.run:apply"
