"""The rule ``recurrent``: what a recipe may say. The work is in `onnxbuild.rules.recurrent.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent(Rule):
    """Write `LSTM`, `GRU` and `RNN` layers as ONNX's, for sizes that vary, time or batch first, with projections too.

    torch.export goes through a layer step by step, and so fixes how many there are.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.recurrent.run:apply"
