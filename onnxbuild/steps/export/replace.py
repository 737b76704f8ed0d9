"""Apply the recipe's rules: to the modules before the export, to the graph after it. Say where each fired.

What is done during the export is in `onnxbuild.steps.export.operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any
from weakref import ref

import onnx_ir as ir
import torch
from torch import nn

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.coverage import state_of
from onnxbuild.steps.model.loading import set_eval
from onnxbuild.steps.model.user import say, user_code

SHOWN = 12
"""Kinds of modules or operators that a message names."""


def of_level(rules: Sequence[Mapping[str, Any]], level: str) -> list[Mapping[str, Any]]:
    """Give the rules of a level, in order."""
    return [rule for rule in rules if rule["level"] == level]


def replace_modules(
    model: nn.Module, rules: Sequence[Mapping[str, Any]], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Apply the rules in order; give the model and, for each rule, the modules that it replaced.

    Where tensors of the state went with them, the rule's entry names these as ``weights``.

    Raises `ExportError` for a rule that matches nothing and is not optional.
    """
    fired: list[dict[str, Any]] = []
    for rule in rules:
        module, _, function = rule["run"].partition(":")
        apply = getattr(import_module(module), function)
        before = {name: ref(tensor) for name, tensor in state_of(model).items()}
        with user_code(f"the rule {rule['name']!r} failed", kind=ExportError):
            model, paths = apply(model, rule["options"], run)
        kinds = sorted({type(child).__name__ for child in model.modules()})
        require(rule, paths, "in the model", f"the model has: {', '.join(kinds[:SHOWN])}")
        fired.append(account(rule, paths))
        gone = _gone(before, model)
        if gone:
            say(f"weights replaced: {', '.join(gone)}")
            fired[-1]["weights"] = gone
    return set_eval(model) if rules else model, fired


def replace_nodes(model: ir.Model, rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Apply graph rules in order, in place; give for each the nodes where it fired.

    Raises `ExportError` for a rule that matches nothing and is not optional.
    """
    fired = []
    for rule in rules:
        module, _, function = rule["run"].partition(":")
        apply = getattr(import_module(module), function)
        with user_code(f"the rule {rule['name']!r} failed", kind=ExportError):
            places = apply(model, rule["options"])
        kinds = sorted({node.op_type for node in model.graph.all_nodes()})
        require(rule, places, "in the graph", f"the graph has: {', '.join(kinds[:SHOWN])}")
        fired.append(account(rule, places))
    return fired


def require(rule: Mapping[str, Any], places: Sequence[str], where: str, hint: str) -> None:
    """Raise `ExportError` for a rule that fired nowhere, unless it is optional."""
    if places or rule["options"].get("optional", False):
        return
    raise ExportError(
        f"the rule {rule['name']!r} matches nothing {where}",
        where=f"replace.{rule['name']}",
        hint=f"take it out, or say `optional: true`; {hint}",
    )


def account(rule: Mapping[str, Any], places: Sequence[str]) -> dict[str, Any]:
    """Say where a rule fired, to the log and for the step's notes."""
    say(f"rule {rule['name']}: {len(places)} replaced: {', '.join(places) or 'none'}")
    return {
        "rule": rule["name"],
        "level": rule["level"],
        "count": len(places),
        "where": list(places),
    }


def _gone(before: Mapping[str, ref[torch.Tensor]], model: nn.Module) -> list[str]:
    """Name the tensors that the model had and that are not in it any more, under whatever name."""
    now = {id(tensor) for tensor in state_of(model).values()}
    return [name for name, tensor in before.items() if id(tensor()) not in now]
