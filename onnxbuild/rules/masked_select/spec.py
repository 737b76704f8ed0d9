"""The rule ``masked_select``: what a recipe may say. The work is in `onnxbuild.rules.masked_select.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedSelect(Rule):
    """Compute `masked_select` as a compression of the flat tensor."""

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.masked_select.run:apply"
