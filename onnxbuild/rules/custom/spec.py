"""The rules that are callables of the user's own, one for each level: what a recipe may say. The work is in `onnxbuild.rules.custom.run`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomOperator(Rule):
    """Let a function of the user's say what operators become.

    ``function(**options)`` returns a mapping from operators (``mylib::gelu``) to their translations.
    """

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.custom.run:translate"

    function: Entry
    """The function."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Its keyword arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomGraph(Rule):
    """Let a function of the user's change the exported graph.

    ``function(model, **options)`` changes the ``onnx_ir.Model`` in place, and returns how many replacements it
    made, or the names of the nodes where it made them.
    """

    level: ClassVar[Level] = "graph"
    run: ClassVar[str] = "onnxbuild.rules.custom.run:rewrite"

    function: Entry
    """The function."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Its keyword arguments."""
