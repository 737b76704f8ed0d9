"""The rule ``nan_to_num``: what a recipe may say. The work is in `onnxbuild.rules.nan_to_num.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class NanToNum(Rule):
    """Compute `nan_to_num` by comparisons, for opsets without `IsInf`."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.nan_to_num.run:apply"
