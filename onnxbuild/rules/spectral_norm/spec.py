"""The rule ``spectral_norm``: what a recipe may say. The work is in `onnxbuild.rules.spectral_norm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralNorm(Rule):
    """Fold spectral normalization into plain weights, of the old hooks and of parametrizations alike.

    The folded weight is the one that the layer computes in eval mode, without another power iteration. A tensor that has
    other parametrizations besides is folded with all of them.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.spectral_norm.run:apply"
