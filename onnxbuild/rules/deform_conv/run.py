"""Convolution over places that are moved by offsets: the operator, or what it computes in others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.core.values import build
from onnxbuild.rules.building import Builder
from onnxbuild.rules.deform_conv.spec import DeformConv
from onnxbuild.rules.sampling import ZEROS, Sampler, linear

SINCE = 19
"""The opset from which on there is a DeformConv."""


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translation."""
    rule = build(DeformConv, options)

    def deform_conv(
        op: Builder,
        x: ir.Value,
        weight: ir.Value,
        offset: ir.Value,
        mask: ir.Value,
        bias: ir.Value,
        stride_h: int,
        stride_w: int,
        pad_h: int,
        pad_w: int,
        dilation_h: int,
        dilation_w: int,
        groups: int,
        offset_groups: int,
        use_mask: bool,
    ) -> ir.Value:
        write = _gathered if rule.plain or op.opset < SINCE else _fused
        return write(
            op, x, weight, offset, mask if use_mask else None, bias,
            stride=(stride_h, stride_w), pad=(pad_h, pad_w), dilation=(dilation_h, dilation_w),
            groups=groups, offset_groups=offset_groups,
        )  # fmt: skip

    return {"torchvision::deform_conv2d": deform_conv}


def _fused(
    op: Builder,
    x: ir.Value,
    weight: ir.Value,
    offset: ir.Value,
    mask: ir.Value | None,
    bias: ir.Value,
    *,
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    offset_groups: int,
) -> ir.Value:
    return op.DeformConv(
        x, weight, offset, bias, mask, kernel_shape=op.sizes(weight)[2:], strides=list(stride),
        pads=[*pad, *pad], dilations=list(dilation), group=groups, offset_group=offset_groups,
    )  # fmt: skip


def _gathered(
    op: Builder,
    x: ir.Value,
    weight: ir.Value,
    offset: ir.Value,
    mask: ir.Value | None,
    bias: ir.Value,
    *,
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    offset_groups: int,
) -> ir.Value:
    out, _, *kernel = (int(size or 0) for size in op.sizes(weight))
    taps = kernel[0] * kernel[1]
    image = [op.size(x, axis) for axis in (2, 3)]
    over = [op.size(offset, axis) for axis in (2, 3)]
    # The channels that share offsets are an image of their own.
    channels = op.sizes(x)[1] or out * groups
    parts = op.reshape(x, [-1, channels // offset_groups, *image])
    moves = op.reshape(offset, [-1, taps, 2, *over])
    sampler = Sampler(op, parts, ZEROS, align_corners=True, rank=4)
    place = partial(_place, op, moves, kernel, stride, pad, dilation)
    found = sampler.weigh([linear(op, place(0, over[0])), linear(op, place(1, over[1]))])
    if mask is not None:
        found = op.Mul(found, op.reshape(mask, [-1, taps, *over, 1]))
    # [N * offset groups, taps, height, width, channels] to what a matrix of weights is multiplied with.
    places = op.product(over)
    columns = op.Transpose(found, perm=[0, 4, 1, 2, 3])
    columns = op.reshape(columns, [-1, groups, channels // groups * taps, places])
    matrix = op.reshape(weight, [groups, out // groups, channels // groups * taps])
    result = op.reshape(op.MatMul(matrix, columns), [-1, out, *over])
    return op.Add(result, op.reshape(bias, [1, out, 1, 1]))


def _place(
    op: Builder,
    moves: ir.Value,
    kernel: list[int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
    axis: int,
    size: Any,
) -> ir.Value:
    """Give where each tap of the kernel looks along one axis, in pixels."""
    tap = np.indices(kernel)[axis].reshape(-1, 1, 1) * dilation[axis] - pad[axis]
    start = op.Mul(op.arange(size), op.constant(stride[axis]))
    start = op.reshape(start, [1, -1, 1] if axis == 0 else [1, 1, -1])
    base = op.Add(start, op.constant(tap.astype(np.int64)))
    moved = op.squeeze(op.slice(moves, [axis], [axis + 1], [2]), [2])
    return op.Add(moved, op.Cast(base, to=int(moves.dtype or ir.DataType.FLOAT)))
