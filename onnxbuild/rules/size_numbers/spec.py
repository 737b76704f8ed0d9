"""The rule ``size_numbers``: what a recipe may say. The work is in `onnxbuild.rules.size_numbers.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeNumbers(Rule):
    """Compute with numbers that follow from sizes, as in `torch.arange(n) * (1 / n)`, where dynamo wants fixed ones."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.size_numbers.run:apply"
