"""The rule ``fake_quant``: what a recipe may say. The work is in `onnxbuild.rules.fake_quant.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeQuant(Rule):
    """Give the fake quantization of quantization-aware training the scales that it has, and stop it from observing.

    In the graph it is rounding in plain operators. A model whose observers are on changes each time that it is called, also in eval
    mode, so what it is compared with does, too: call ``torch.ao.quantization.disable_observer`` where the model is built.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.fake_quant.run:apply"
