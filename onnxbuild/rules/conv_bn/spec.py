"""The rule ``conv_bn``: what a recipe may say. The work is in `onnxbuild.rules.conv_bn.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvBatchNorm(Rule):
    """Fold batch normalization into the convolution or linear layer whose result it alone uses.

    Which these are is seen in one run of the model: every result of the one must go into the other, and nowhere else.
    The folded pair is tried against the old one, and a pair that differs is left; the log says why a pair is.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.conv_bn.run:apply"
