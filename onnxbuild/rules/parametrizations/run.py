"""Fold every parametrized weight into a plain one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.utils import prune

from onnxbuild.core.values import build
from onnxbuild.rules.folding import fold_hooks, fold_parametrizations
from onnxbuild.rules.parametrizations.spec import Parametrizations


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Fold every parametrization and pruning mask of `model`; give it and the paths of the weights."""
    del run
    build(Parametrizations, options)
    masks = fold_hooks(model, prune.BasePruningMethod, "_tensor_name", prune.remove)
    return model, masks + fold_parametrizations(model, lambda _: True)
