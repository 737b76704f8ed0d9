"""The rule ``dropout``: what a recipe may say. The work is in `onnxbuild.rules.dropout.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout(Rule):
    """Make dropout of all kinds and stochastic depth do nothing, whatever mode they are put in.

    It knows torch's layers, and by name and rate those of other libraries (``DropPath``, ``StochasticDepth``, ``StableDropout``).
    Calls of ``F.dropout(training=True)`` are no layers and stay; the log names the lines. A model that drops while it is
    compared gives random numbers, so the build fails whether or not the export drops.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.dropout.run:apply"
