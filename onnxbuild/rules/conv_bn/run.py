"""Fold batch normalization into the convolution or linear layer before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import build
from onnxbuild.rules.conv_bn.pairs import Pair, find_pairs
from onnxbuild.rules.conv_bn.spec import ConvBatchNorm
from onnxbuild.rules.surgery import difference, evaluating, say

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Fold each pair of `model` that can be; give it and the paths of the batch normalizations."""
    build(ConvBatchNorm, options)
    with evaluating(model):
        pairs = find_pairs(model, run)
        return model, [pair.norm_path for pair in pairs if _fold(pair)]


def _fold(pair: Pair) -> bool:
    """Fold a pair, if what comes out is the same."""
    layer, norm = pair.layer, pair.norm
    value = torch.randn(pair.shape, dtype=layer.weight.dtype, device=layer.weight.device)
    wanted = norm(layer(value))
    weight, bias = _folded(layer, norm)
    before = layer.weight, layer.bias
    # New ones: others may have the old.
    layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    layer.bias = nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
    if difference(layer(value), wanted) > 1:
        layer.weight, layer.bias = before
        say(f"{pair.norm_path}: folded into {pair.layer_path} it gives other numbers: left")
        return False
    norm.__class__ = nn.Identity
    for name in (*norm._parameters, *norm._buffers):
        delattr(norm, name)
    return True


def _folded(layer: nn.Module, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Give weight and bias of `layer` with `norm` in them, computed in double precision."""
    weight, dtype = layer.weight.detach().double(), layer.weight.dtype
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    bias = (
        -norm.running_mean.double()
        if layer.bias is None
        else layer.bias.detach().double() - norm.running_mean
    )
    bias = bias * scale
    if norm.bias is not None:
        bias = bias + norm.bias.detach().double()
    if isinstance(layer, TRANSPOSED):
        # (in, out / groups, …): the inputs of a group stand together, and give that group's outputs.
        groups = layer.groups
        parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        by_group = scale.reshape(groups, 1, -1, *[1] * (weight.dim() - 2))
        weight = (parts * by_group).reshape(weight.shape)
    else:
        weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    return weight.to(dtype).contiguous(), bias.to(dtype)
