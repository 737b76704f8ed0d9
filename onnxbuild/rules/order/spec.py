"""The rule ``order``: what a recipe may say. The work is in `onnxbuild.rules.order.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Rule):
    """Compute `median` and `kthvalue` from the smallest values."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.order.run:apply"
