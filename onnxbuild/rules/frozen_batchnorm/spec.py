"""The rule ``frozen_batchnorm``: what a recipe may say. The work is in `onnxbuild.rules.frozen_batchnorm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenBatchNorm(Rule):
    """Make frozen batch normalization, as detection models write it, an ordinary one in eval mode.

    It is found by what it is: a layer without parameters whose four buffers are ``weight``, ``bias``, ``running_mean``
    and ``running_var``, and which gives the same numbers as a batch normalization with some epsilon. One that does not is
    left, and the log says so.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.frozen_batchnorm.run:apply"
