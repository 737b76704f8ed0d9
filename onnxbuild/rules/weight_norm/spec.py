"""The rule ``weight_norm``: what a recipe may say. The work is in `onnxbuild.rules.weight_norm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNorm(Rule):
    """Fold weight normalization into plain weights, of the old hooks and of parametrizations alike.

    The folded weight is the one that the layer computes in eval mode, bit for bit. A tensor that has other parametrizations
    besides is folded with all of them.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.weight_norm.run:apply"
