"""The rule ``rename``: what a recipe may say. The work is in `onnxbuild.rules.rename.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename(Rule):
    """Give dimensions and values of the graph other names.

    Inputs and outputs have the names that the recipe's `inputs` and `outputs` give them: by name where the model has
    one of that name, the others in its order. So do the dimensions that `shape` and `dynamic_axes` name.
    """

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.rename.run:apply"

    dims: Mapping[str, str] = field(default_factory=dict)
    """Old name of a dimension -> new name."""

    values: Mapping[str, str] = field(default_factory=dict)
    """Old name of a weight or of what a node gives -> new name."""
