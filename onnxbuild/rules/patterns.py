"""Rewriting of graphs by onnxscript's patterns, with account of where each fired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter import pattern

from onnxbuild.errors import ExportError

__all__ = [
    "constant_of",
    "is_rules",
    "need_opset",
    "pattern",
    "places_of",
    "reduces_last",
    "rewrite",
]


def constant_of(value: ir.Value | None) -> float | None:
    """Give the one number that a constant holds; None for anything else."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1:
        return None
    return float(tensor.numpy().item())


def reduces_last(value: ir.Value) -> bool:
    """True if a value was reduced over its last axis, and kept its rank."""
    node = value.producer()
    if node is None or node.attributes.get_int("keepdims", 1) != 1:
        return False
    if "axes" in node.attributes:
        axes = list(node.attributes["axes"].as_ints())
    else:
        tensor = ir.convenience.get_const_tensor(node.inputs[1]) if len(node.inputs) > 1 else None
        axes = [] if tensor is None else tensor.numpy().reshape(-1).tolist()
    source = node.inputs[0]
    rank = None if source is None or source.shape is None else len(source.shape)
    return axes == [-1] or (rank is not None and axes == [rank - 1])


def need_opset(model: ir.Model, least: int, operator: str) -> None:
    """Raise `ExportError` where the graph's opset does not have an operator yet."""
    found = model.opset_imports.get("", 0)
    if found < least:
        raise ExportError(
            f"{operator} came with opset {least}, and the graph has {found}",
            where="export.opset",
            hint=f"say `opset: {least}` or more, or take the rule out",
        )


def is_rules(value: Any) -> bool:
    """True if `value` is a rule of onnxscript's rewriter, a set of them, or a list of them."""
    if isinstance(value, pattern.RewriteRule | pattern.RewriteRuleSet):
        return True
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(rule, pattern.RewriteRule) for rule in value)
    )


def rewrite(model: ir.Model, rules: Any) -> list[str]:
    """Apply the rules to the model, in place; give the nodes where one fired, in the graph's order."""
    if isinstance(rules, pattern.RewriteRule):
        rules = [rules]
    places: list[str] = []
    _RuleSet([_Recorded(rule, places) for rule in rules]).apply_to_model(model)
    if places:
        # Constants of the patterns, mostly.
        RemoveUnusedNodesPass()(model)
    return places


def places_of(result: Any, function: str) -> list[str]:
    """Read what a function of the user's says of where it fired: a number, or names.

    Raises `ExportError` for anything else.
    """
    if isinstance(result, int) and not isinstance(result, bool) and result >= 0:
        return [f"{function} #{number}" for number in range(1, result + 1)]
    if isinstance(result, Iterable) and not isinstance(result, str):
        names = list(result)
        if all(isinstance(name, str) for name in names):
            return names
    raise ExportError(
        f"{function} returned {result!r}",
        where="replace",
        hint="return how many replacements were made, or a list of the names of nodes",
    )


class _Recorded:
    """A rule that writes down the nodes at which it fires."""

    def __init__(self, rule: Any, places: list[str]) -> None:
        self._rule = rule
        self._places = places

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rule, name)

    def try_rewrite(
        self, model: ir.Model, graph: ir.Graph | ir.Function, node: ir.Node, **options: Any
    ) -> Any:
        """Rewrite at a node, or give None where the pattern does not match."""
        found = self._rule.try_rewrite(model, graph, node, **options)
        if found is not None:
            self._places.append(node.name or node.op_type)
        return found


class _RuleSet(pattern.RewriteRuleSet):  # type: ignore[misc]
    """A set of rules that need not be of onnxscript's class."""

    def __init__(self, rules: Sequence[_Recorded]) -> None:
        super().__init__(list(rules))
