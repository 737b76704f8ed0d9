"""Compute modes of interpolation that an exporter lacks, axis by axis, from the sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from onnxbuild.core.values import build
from onnxbuild.rules.calls import replace_calls
from onnxbuild.rules.interpolate.spec import Interpolate
from onnxbuild.rules.windows import average

LINEAR, CUBIC = 1.0, 2.0
"""How far from its middle a filter reaches, in samples."""


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace these modes in `model`; give it and where they were."""
    build(Interpolate, options)
    return replace_calls(model, {functional.interpolate: interpolate}, run)


def interpolate(
    input: torch.Tensor,  # noqa: A002
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Give what ``torch.nn.functional.interpolate`` gives, in the modes that it is for."""
    if mode not in {"area", "nearest-exact"} and not antialias:
        return NotImplemented
    axes = range(2, input.dim())
    lengths = [input.shape[axis] for axis in axes]
    factors = _each(scale_factor, len(lengths))
    sizes = _each(size, len(lengths))
    if size is None:
        sizes = [_scaled(length, factor) for length, factor in zip(lengths, factors, strict=True)]
    if size is not None or recompute_scale_factor:
        # What counts is how large the output became.
        factors = [None] * len(lengths)
    if mode == "area":
        return average(input, sizes)
    result = input
    for axis, length, wanted, factor in zip(axes, lengths, sizes, factors, strict=True):
        if mode == "nearest-exact":
            result = _nearest(result, axis, length, wanted, factor)
        else:
            result = _filtered(result, axis, length, wanted, factor, mode, bool(align_corners))
    return result


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def _scaled(length: Any, factor: float) -> Any:
    if isinstance(length, torch.Tensor):
        # What torch.jit.trace has for a size.
        return torch.floor(length.float() * factor).to(torch.int64)
    # Dynamo writes a product of two types where a factor is a whole number.
    return length * int(factor) if factor == int(factor) else math.floor(length * factor)


def _numbers(value: torch.Tensor, size: Any) -> torch.Tensor:
    return torch.arange(size, device=value.device).to(torch.float32)


def _nearest(
    value: torch.Tensor, axis: int, length: Any, size: Any, factor: float | None
) -> torch.Tensor:
    step = length / size if factor is None else 1.0 / factor
    at = (_numbers(value, size) + 0.5) * step
    at = at.floor().to(torch.int64)
    last = torch.ones_like(at) * (length - 1)
    # Not the minimum, which opsets below 12 have of floats only.
    return torch.index_select(value, axis, torch.where(at < last, at, last))


def _filtered(
    value: torch.Tensor,
    axis: int,
    length: Any,
    size: Any,
    factor: float | None,
    mode: str,
    align_corners: bool,
) -> torch.Tensor:
    """Weigh all inputs with a filter as wide as an output is in them, as Pillow does."""
    if align_corners:
        # The middles are not where the corners are; this is what torch computes.
        step = 0.0 if isinstance(size, int) and size == 1 else (length - 1) / (size - 1)
    else:
        step = length / size if factor is None else 1.0 / factor
    middle = (_numbers(value, size) + 0.5) * step
    width = torch.clamp(torch.ones((), device=value.device) * step, min=1.0)
    distance = ((_numbers(value, length)[None, :] + 0.5 - middle[:, None]) / width).abs()
    weights = _linear(distance) if mode == "bilinear" else _cubic(distance)
    weights = (weights / weights.sum(-1, keepdim=True)).to(value.dtype)
    moved = torch.matmul(value.transpose(axis, -1), weights.transpose(0, 1))
    return moved.transpose(axis, -1)


def _linear(distance: torch.Tensor) -> torch.Tensor:
    return torch.clamp(LINEAR - distance, min=0.0)


def _cubic(distance: torch.Tensor, a: float = -0.5) -> torch.Tensor:
    """Keys' cubic convolution, with the parameter that Pillow has."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    zero = torch.zeros_like(distance)
    return torch.where(distance < 1, near, torch.where(distance < CUBIC, far, zero))
