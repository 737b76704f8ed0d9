"""The rule ``custom``: what a recipe may say. The work is in `onnxbuild.rules.custom.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from onnxbuild.recipe.rule import Level, Rule
from onnxbuild.recipe.schema import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom(Rule):
    """Let a function of the user's change the model before it is exported.

    ``function(model, **options)`` changes the model in place and returns how many replacements it made, or
    returns the module to export instead.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.custom.run:apply"

    function: Entry
    """The function."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Its keyword arguments."""
