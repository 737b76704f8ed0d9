"""Make dropout and stochastic depth do nothing, in place.

A layer changes its class and stays the same object, so that hooks and references from elsewhere stay good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from onnxbuild.core.values import build
from onnxbuild.rules.calls import place
from onnxbuild.rules.dropout.spec import Dropout
from onnxbuild.rules.surgery import evaluating, say, shown

NAMES = frozenset({"DropPath", "DropBlock2d", "DropBlock3d", "StableDropout", "StochasticDepth", "XDropout"})  # fmt: skip
"""Classes of other libraries that hand on their input in eval mode; models copy them under these names."""

RATES = ("drop_prob", "p", "drop_rate")
"""What such a class calls its rate; one without is something else of that name."""

CALLS = frozenset(
    {
        functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d,
        functional.alpha_dropout, functional.feature_alpha_dropout, torch.dropout,
    }
)  # fmt: skip


class Off(nn.Module):  # type: ignore[misc]
    """Hands on its input. The rate and what else the layer had stay its attributes."""

    def forward(self, *values: Any, **named: Any) -> Any:
        """Give the first value."""
        return values[0] if values else next(iter(named.values()))


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Switch every dropout of `model` off; give it and the paths of the layers."""
    build(Dropout, options)
    paths = []
    for path, child in model.named_modules():
        if _drops(child):
            child.__class__ = Off
            paths.append(shown(path))
    if paths:
        with evaluating(model), _Live() as live:
            run(model)
        for line in live.lines:
            say(f"drops in a function that no mode switches off, and stays: {line}")
    return model, paths


def _drops(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return True
    named = any(kind.__name__ in NAMES for kind in type(module).__mro__)
    return named and any(hasattr(module, rate) for rate in RATES) and not any(module.children())


class _Live(TorchFunctionMode):  # type: ignore[misc]
    """Notes calls of dropout that really drop."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, None] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, and note where it drops."""
        named = dict(zip(("input", "p", "training"), args, strict=False)) | (kwargs or {})
        if func in CALLS and named.get("training", True) and named.get("p", 0.5):
            self.lines[place()] = None
        return func(*args, **(kwargs or {}))
