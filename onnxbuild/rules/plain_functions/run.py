"""Write functions that one of the exporters lacks with functions that both have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from onnxbuild.core.values import build
from onnxbuild.rules.calls import Table, replace_calls
from onnxbuild.rules.plain_functions.spec import PlainFunctions


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace these functions in `model`; give it and where they were."""
    build(PlainFunctions, options)
    return replace_calls(model, TABLE, run)


def _rms_norm(
    input: torch.Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor:
    # In single precision, as torch does, where the square of a large half is infinite.
    is_half = input.dtype in {torch.float16, torch.bfloat16}
    value = input.float() if is_half else input
    # Torch takes the resolution of the type that it computes in.
    least = torch.finfo(value.dtype).eps if eps is None else eps
    axes = list(range(-len(normalized_shape), 0))
    value = value * torch.rsqrt((value * value).mean(axes, keepdim=True) + least)
    value = value if weight is None else value * weight.to(value.dtype)
    return value.to(input.dtype)


def _channel_shuffle(input: torch.Tensor, groups: int) -> torch.Tensor:  # noqa: A002
    batch, channels, *rest = input.shape
    value = input.reshape(batch, groups, channels // groups, *rest)
    return value.transpose(1, 2).reshape(batch, channels, *rest)


def _threshold(
    input: torch.Tensor,  # noqa: A002
    threshold: float,
    value: float,
    inplace: bool = False,
) -> Any:
    if inplace:
        return NotImplemented
    # A comparison with NaN is false, and torch hands NaN on.
    return torch.where(input <= threshold, torch.full_like(input, value), input)


def _rrelu(
    input: torch.Tensor,  # noqa: A002
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Any:
    if training or inplace:
        return NotImplemented
    return functional.leaky_relu(input, (lower + upper) / 2)


def _celu(input: torch.Tensor, alpha: float = 1.0, inplace: bool = False) -> Any:  # noqa: A002
    if inplace:
        return NotImplemented
    return alpha * functional.elu(input / alpha)


def _instance_norm(
    input: torch.Tensor,  # noqa: A002
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if use_input_stats or running_mean is None or running_var is None:
        return NotImplemented
    return functional.batch_norm(
        input, running_mean, running_var, weight, bias, momentum=momentum, eps=eps
    )


TABLE: Table = {
    functional.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    torch.channel_shuffle: _channel_shuffle,
    torch.native_channel_shuffle: _channel_shuffle,
    functional.threshold: _threshold,
    functional.rrelu: _rrelu,
    functional.celu: _celu,
    functional.instance_norm: _instance_norm,
}
