"""Fold weight normalization into plain weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm as Hook
from torch.nn.utils.weight_norm import remove_weight_norm

from onnxbuild.core.values import build
from onnxbuild.rules.folding import fold_hooks, fold_parametrizations
from onnxbuild.rules.weight_norm.spec import WeightNorm


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Fold every weight norm of `model`; give it and the paths of the weights."""
    del run
    build(WeightNorm, options)
    hooks = fold_hooks(model, Hook, "name", remove_weight_norm)
    return model, hooks + fold_parametrizations(
        model, lambda item: isinstance(item, parametrizations._WeightNorm)
    )
