"""Rewrite the exported graph by patterns, or by a function, of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild import entries
from onnxbuild.core.values import build
from onnxbuild.rules.pattern.spec import Pattern
from onnxbuild.rules.patterns import is_rules, places_of, rewrite


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Apply the rules, or call the function; give the nodes where something was replaced."""
    rule = build(Pattern, options)
    found = entries.load(rule.pattern)
    if is_rules(found):
        return rewrite(model, found)
    takes_model = any(
        parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        and parameter.name not in rule.options
        for parameter in list(inspect.signature(found).parameters.values())[:1]
    )
    result = found(model, **rule.options) if takes_model else found(**rule.options)
    return rewrite(model, result) if is_rules(result) else places_of(result, rule.pattern)
