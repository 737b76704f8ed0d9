"""The rule ``interpolate``: what a recipe may say. The work is in `onnxbuild.rules.interpolate.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolate(Rule):
    """Compute the modes of ``F.interpolate`` that an exporter lacks: ``area``, ``nearest-exact`` and ``antialias``.

    In layers and calls alike, from the sizes. Modes that every exporter has stay as they are.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.interpolate.run:apply"
