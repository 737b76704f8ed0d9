"""The rule ``parametrizations``: what a recipe may say. The work is in `onnxbuild.rules.parametrizations.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Parametrizations(Rule):
    """Fold every parametrized weight into a plain one: orthogonal, weight and spectral norm, the user's own, and pruning masks.

    The folded weight is the one that the layer computes in eval mode, bit for bit. A parametrization that gives another
    value each time is refused.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.parametrizations.run:apply"
