"""Apply the recipe's module rules to the model, and say where each fired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any
from weakref import ref

import torch
from torch import nn

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.coverage import state_of
from onnxbuild.steps.model.loading import set_eval
from onnxbuild.steps.model.user import say, user_code


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
        if not paths and not rule["options"].get("optional", False):
            raise ExportError(
                f"the rule {rule['name']!r} matches nothing in the model",
                where=f"replace.{rule['name']}",
                hint="take it out, or say `optional: true`; the model has: "
                + ", ".join(sorted({type(child).__name__ for child in model.modules()})[:12]),
            )
        say(f"rule {rule['name']}: {len(paths)} replaced: {', '.join(paths) or 'none'}")
        fired.append({"rule": rule["name"], "count": len(paths), "modules": list(paths)})
        gone = _gone(before, model)
        if gone:
            say(f"weights replaced: {', '.join(gone)}")
            fired[-1]["weights"] = gone
    return set_eval(model) if rules else model, fired


def _gone(before: Mapping[str, ref[torch.Tensor]], model: nn.Module) -> list[str]:
    """Name the tensors that the model had and that are not in it any more, under whatever name."""
    now = {id(tensor) for tensor in state_of(model).values()}
    return [name for name, tensor in before.items() if id(tensor()) not in now]
