"""Module rules that step in by themselves: where a way to export has failed, and the model has what they are for.

Each writes the same function in other operators, which every exporter has at every size, or computes a weight once. Where none of them
finds anything, nothing is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import plain
from onnxbuild.recipe.rule import Rule
from onnxbuild.rules.adaptive_pool.spec import AdaptivePool
from onnxbuild.rules.complex_pairs.spec import ComplexPairs
from onnxbuild.rules.dense_experts.spec import DenseExperts
from onnxbuild.rules.interpolate.spec import Interpolate
from onnxbuild.rules.multihead_attention.spec import MultiheadAttention
from onnxbuild.rules.parametrizations.spec import Parametrizations
from onnxbuild.rules.plain_functions.spec import PlainFunctions
from onnxbuild.rules.recurrent.spec import Recurrent
from onnxbuild.rules.scan_loops.spec import ScanLoops
from onnxbuild.steps.export.replace import replace_modules

HELPERS: tuple[type[Rule], ...] = (
    Parametrizations, AdaptivePool, Interpolate, PlainFunctions, MultiheadAttention, ScanLoops,
    DenseExperts, Recurrent, ComplexPairs,
)  # fmt: skip


def help_export(
    model: nn.Module, taken: Sequence[str], run: Callable[[nn.Module], object], why: str
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Apply to `model` the rules that find something in it; give it, and where each of them fired.

    `taken` are the ``run`` of the rules that the recipe has itself; `why` is what has failed without them.
    """
    if any(isinstance(child, torch.jit.ScriptModule) for child in model.modules()):
        # Its code is not Python, and cannot be looked into.
        return model, []
    rules = [
        {
            "name": kind.run.split(".")[-2],
            "run": kind.run,
            "level": kind.level,
            "options": plain(kind(optional=True)),
        }
        for kind in HELPERS
        if kind.run not in taken
    ]
    model, accounts = replace_modules(model, rules, run)
    return model, [account | {"why": why} for account in accounts if account["count"]]
