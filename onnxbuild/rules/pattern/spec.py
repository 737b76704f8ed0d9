"""The rule ``pattern``: what a recipe may say. The work is in `onnxbuild.rules.pattern.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from onnxbuild.recipe.rule import Level, Rule
from onnxbuild.recipe.schema import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern(Rule):
    """Rewrite the exported graph, by patterns of onnxscript's rewriter or a function of your own.

    ``pattern`` names a ``RewriteRule``, a ``RewriteRuleSet``, a list of rules, a function ``(**options)`` without a
    model that returns one of these, or a function ``(model, **options)`` that changes the ``onnx_ir.Model`` in place
    and returns how many replacements it made, or the names of the nodes where it made them.
    """

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.pattern.run:apply"

    pattern: Entry
    """The rules, or the function."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function."""
