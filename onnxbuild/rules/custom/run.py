"""Let a function of the user's change the model, say what operators become, or change the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir
from torch import nn

from onnxbuild import entries
from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.custom.spec import Custom, CustomGraph, CustomOperator
from onnxbuild.rules.patterns import places_of


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Call the function; give the model to export and one path for each replacement it counted."""
    del run
    rule = build(Custom, options)
    function = entries.load(rule.function)
    result = function(model, **rule.options)
    if isinstance(result, nn.Module):
        return result, ["(the model)"]
    if isinstance(result, bool) or not isinstance(result, int) or result < 0:
        raise ExportError(
            f"{rule.function} returned {result!r}",
            where="replace",
            hint="return how many modules were replaced, or the module to export instead",
        )
    return model, [f"{rule.function} #{number}" for number in range(1, result + 1)]


def translate(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Call the function; give the operators that it translates."""
    rule = build(CustomOperator, options)
    table = entries.load(rule.function)(**rule.options)
    if not isinstance(table, Mapping) or not all(map(callable, table.values())):
        raise ExportError(
            f"{rule.function} returned {table!r}",
            where="replace",
            hint="return a mapping from operators, such as 'mylib::gelu', to functions",
        )
    return table


def rewrite(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Call the function on the graph; give the nodes where it changed something."""
    rule = build(CustomGraph, options)
    return places_of(entries.load(rule.function)(model, **rule.options), rule.function)
