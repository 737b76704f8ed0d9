"""The rule ``remove_asserts``: what a recipe may say. The work is in `onnxbuild.rules.remove_asserts.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAsserts(Rule):
    """Take out what checks at run time and gives nothing: assertions, and the nodes that feed only them."""

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.remove_asserts.run:apply"
