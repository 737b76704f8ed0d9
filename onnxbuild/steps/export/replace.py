"""Apply the recipe's module rules to the model, and say where each fired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import nn

from onnxbuild.errors import ExportError
from onnxbuild.steps.model.loading import set_eval
from onnxbuild.steps.model.user import say, user_code


def replace_modules(
    model: nn.Module, rules: Sequence[Mapping[str, Any]], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Apply the rules in order; give the model and, for each rule, the modules that it replaced.

    Raises `ExportError` for a rule that matches nothing and is not optional.
    """
    fired = []
    for rule in rules:
        module, _, function = rule["run"].partition(":")
        apply = getattr(import_module(module), function)
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
    return set_eval(model) if rules else model, fired
