"""Make frozen batch normalization an ordinary one, in place.

The layers of torchvision, detectron2, DETR and transformers differ in where they have their epsilon: an attribute, a
number in ``forward``, or none. So it is found by trying, and what is not the same on random input is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import build
from onnxbuild.rules.frozen_batchnorm.spec import FrozenBatchNorm
from onnxbuild.rules.surgery import difference, evaluating, say, shown

BUFFERS = frozenset({"weight", "bias", "running_mean", "running_var"})
EPSILONS = (1e-5, 1e-3, 0.0, 1e-6, 1e-12)
"""Tried in this order, after the layer's own attribute."""

KINDS = {4: nn.BatchNorm2d, 3: nn.BatchNorm1d, 5: nn.BatchNorm3d, 2: nn.BatchNorm1d}
"""By the rank of the input; most of these layers are for images."""


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Convert every frozen batch normalization of `model`; give it and the paths of the layers."""
    del run
    build(FrozenBatchNorm, options)
    paths = []
    with evaluating(model):
        for path, child in model.named_modules():
            if not _looks_frozen(child):
                continue
            found = _match(child)
            if found is None:
                say(
                    f"{shown(path)} looks like a frozen batch normalization, but computes another thing: left"
                )
                continue
            kind, epsilon = found
            child.__class__ = kind
            _set_attributes(child, epsilon)
            paths.append(shown(path))
    return model, paths


def _looks_frozen(module: nn.Module) -> bool:
    buffers = {name: value for name, value in module._buffers.items() if value is not None}
    return (
        not isinstance(module, nn.modules.batchnorm._NormBase)
        and set(buffers) - {"num_batches_tracked"} == BUFFERS
        and not any(True for _ in module.parameters())
        and not any(module.children())
        and all(buffers[name].shape == buffers["weight"].shape for name in BUFFERS)
        and buffers["weight"].dim() == 1
        and buffers["weight"].is_floating_point()
    )


def _match(layer: nn.Module) -> tuple[type[nn.Module], float] | None:
    """Give the batch normalization that computes the same, and its epsilon."""
    weight = layer._buffers["weight"]
    for rank, kind in KINDS.items():
        value = torch.randn(
            2, len(weight), *[3] * (rank - 2), dtype=weight.dtype, device=weight.device
        )
        try:
            # Not by calling the layer: its hooks are for real inputs.
            wanted = layer.forward(value)
        except (RuntimeError, ValueError, IndexError, TypeError):
            continue
        own = [getattr(layer, name, None) for name in ("eps", "epsilon")]
        tried = {
            epsilon: _distance(layer, value, wanted, epsilon)
            for epsilon in (*(item for item in own if isinstance(item, float)), *EPSILONS)
        }
        best = min(tried, key=lambda epsilon: tried[epsilon])
        if tried[best] <= 1:
            return kind, best
    return None


def _distance(layer: nn.Module, value: torch.Tensor, wanted: torch.Tensor, epsilon: float) -> float:
    found = nn.functional.batch_norm(
        value, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=epsilon
    )
    return difference(found, wanted) if isinstance(wanted, torch.Tensor) else float("inf")


def _set_attributes(layer: nn.Module, epsilon: float) -> None:
    layer.num_features = len(layer._buffers["weight"])
    layer.eps = epsilon
    layer.momentum = 0.1
    layer.affine = True
    layer.track_running_stats = True
    layer.training = False
