"""The rule ``sync_batchnorm``: what a recipe may say. The work is in `onnxbuild.rules.sync_batchnorm.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncBatchNorm(Rule):
    """Make each ``SyncBatchNorm`` a ``BatchNorm1d``, ``2d`` or ``3d``, by the rank of what it normalizes.

    Its weights, running statistics, hooks and settings stay; a module shared by several places stays shared.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.sync_batchnorm.run:apply"
