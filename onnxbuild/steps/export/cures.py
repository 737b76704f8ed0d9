"""Built-in rules for modules that step in where an export fails, and that change no numbers.

What they do to a graph is never better than what an exporter makes of a model that it can export. So they are
tried once one has failed, on the model as it is then, and only where they find something to replace.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import plain
from onnxbuild.registry import resolve
from onnxbuild.steps.export.replace import replace_modules

CURES: Mapping[str, Collection[str]] = {
    "parametrizations": {"dynamo", "torchscript"},
    "adaptive_pool": {"dynamo", "torchscript"},
    "multihead_attention": {"torchscript"},
    "interpolate": {"dynamo", "torchscript"},
    "plain_functions": {"torchscript"},
}
"""By rule, the exporters that it helps."""


def cure(
    model: nn.Module,
    exporter: str,
    known: Collection[str],
    run: Callable[[nn.Module], object],
    why: str,
) -> list[dict[str, Any]]:
    """Apply to `model`, in place, what helps an exporter; give for each rule that fired where it did.

    `known` are the functions of the rules that the recipe has itself.
    """
    rules = []
    if any(isinstance(child, torch.jit.ScriptModule) for child in model.modules()):
        # Code that is not Python cannot be looked into.
        return []
    for name, exporters in CURES.items():
        kind = resolve("rules", name)
        if exporter in exporters and kind.run not in known:
            options = plain(kind(optional=True))
            rules.append({"name": name, "level": kind.level, "run": kind.run, "options": options})
    _, fired = replace_modules(model, rules, run)
    return [{**item, "why": why} for item in fired if item["count"]]
