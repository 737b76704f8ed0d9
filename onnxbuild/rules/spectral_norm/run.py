"""Fold spectral normalization into plain weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm as Hook
from torch.nn.utils.spectral_norm import remove_spectral_norm

from onnxbuild.core.values import build
from onnxbuild.rules.folding import fold_hooks, fold_parametrizations
from onnxbuild.rules.spectral_norm.spec import SpectralNorm


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Fold every spectral norm of `model`; give it and the paths of the weights."""
    del run
    build(SpectralNorm, options)
    hooks = fold_hooks(model, Hook, "name", remove_spectral_norm)
    return model, hooks + fold_parametrizations(
        model, lambda item: isinstance(item, parametrizations._SpectralNorm)
    )
