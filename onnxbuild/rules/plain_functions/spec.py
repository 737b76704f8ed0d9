"""The rule ``plain_functions``: what a recipe may say. The work is in `onnxbuild.rules.plain_functions.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFunctions(Rule):
    """Write functions that one of the exporters lacks with functions that both have.

    ``rms_norm``, ``channel_shuffle``, ``threshold``, ``rrelu``, ``celu``, ``instance_norm`` with running statistics, ``diff``,
    ``take_along_dim``, ``inverse``, ``solve`` and ``slogdet`` of up to 16 unknowns, ``linspace`` of as many values as a size is, and ``conv2d`` with weights for each sample, in layers
    and calls alike.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.plain_functions.run:apply"
