"""Windows of a tensor as an axis of their own, and back: `unfold`, `fold`, `Tensor.unfold`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::im2col": im2col, "aten::col2im": col2im, "aten::unfold": unfold}


def unfold(op: Builder, x: ir.Value, dimension: int, size: int, step: int) -> ir.Value:
    """Give windows of `size` at every `step` along an axis; the window's own axis comes last."""
    rank = op.rank(x)
    if rank == 0:
        return op.reshape(x, [1])
    dimension %= rank
    places = _windows(op, op.size(x, dimension), size, step, 1)
    found = op.Gather(x, op.Transpose(places, perm=[1, 0]), axis=dimension)
    order = [axis for axis in range(rank + 1) if axis != dimension + 1]
    return op.Transpose(found, perm=[*order, dimension + 1])


def im2col(
    op: Builder,
    x: ir.Value,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> ir.Value:
    """Give the windows [N, C * kernel, places] of images [N, C, H, W], or without N."""
    if op.rank(x) == 3:  # noqa: PLR2004 - no batch
        whole = im2col(op, op.unsqueeze(x, [0]), kernel_size, dilation, padding, stride)
        return op.squeeze(whole, [0])
    (kernel_h, kernel_w), (pad_h, pad_w) = kernel_size, padding
    if pad_h or pad_w:
        x = op.pad(x, [0, 0, pad_h, pad_w, 0, 0, pad_h, pad_w])
    height, width = (_add(op, op.size(x, axis), 0) for axis in (2, 3))
    rows = _windows(op, height, kernel_h, stride[0], dilation[0])
    columns = _windows(op, width, kernel_w, stride[1], dilation[1])
    found = op.Gather(op.Gather(x, rows, axis=2), columns, axis=4)
    order = op.Transpose(found, perm=[0, 1, 2, 4, 3, 5])
    channels = op.size(x, 1)
    merged = op.product([channels, kernel_h * kernel_w])
    places = op.Mul(op.ints([_count(op, rows)]), op.ints([_count(op, columns)]))
    return op.reshape(order, [op.size(x, 0), merged, places])


def col2im(
    op: Builder,
    x: ir.Value,
    output_size: Sequence[Any],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> ir.Value:
    """Add up windows [N, C * kernel, places] to images [N, C, H, W], or without N."""
    if op.rank(x) == 2:  # noqa: PLR2004 - no batch
        whole = col2im(
            op, op.unsqueeze(x, [0]), output_size, kernel_size, dilation, padding, stride
        )
        return op.squeeze(whole, [0])
    if not all(isinstance(size, int) for size in output_size):
        raise ExportError(
            "fold to a size that varies has no translation",
            where="replace",
            hint="give `fold` its output_size as numbers; or say `opset: 18` or more",
        )
    kernel_h, kernel_w = kernel_size
    spans = [dilation[i] * (kernel_size[i] - 1) + 1 for i in range(2)]
    counts = [(output_size[i] + 2 * padding[i] - spans[i]) // stride[i] + 1 for i in range(2)]
    # What a transposed convolution reaches without padding at the end; the rest is added there.
    rest = [
        output_size[i] + 2 * padding[i] - ((counts[i] - 1) * stride[i] + spans[i]) for i in range(2)
    ]
    kernel = kernel_h * kernel_w
    windows = op.reshape(x, [-1, kernel, *counts])
    eye = np.eye(kernel, dtype=np.float32).reshape(kernel, 1, kernel_h, kernel_w)
    images = op.ConvTranspose(
        windows,
        op.constant(eye, x.dtype or ir.DataType.FLOAT),
        strides=list(stride),
        dilations=list(dilation),
        kernel_shape=list(kernel_size),
    )
    # Cut and filled by hand: runtimes bound the padding of a transposed convolution by its stride.
    if any(rest):
        images = op.pad(images, [0, 0, 0, 0, 0, 0, *rest])
    starts = [int(pad) for pad in padding]
    ends = [starts[i] + output_size[i] for i in range(2)]
    images = op.slice(images, starts, ends, [2, 3])
    channels = op.size(x, 1)
    merged = (
        channels // kernel if isinstance(channels, int) else op.Div(channels, op.ints([kernel]))
    )
    return op.reshape(images, [op.size(x, 0), merged, *output_size])


def _windows(op: Builder, size: Any, kernel: int, step: int, dilation: int) -> ir.Value:
    """Give the places [kernel, windows] that each window covers along an axis of a size."""
    span = dilation * (kernel - 1) + 1
    if isinstance(size, int):
        count: Any = (size - span) // step + 1
    else:
        count = op.Add(op.Div(op.Sub(size, op.ints([span])), op.ints([step])), op.ints([1]))
    starts = op.Mul(op.arange(count), op.ints([step]))
    inside = op.constant((np.arange(kernel) * dilation).reshape(-1, 1).astype(np.int64))
    return op.Add(op.reshape(starts, [1, -1]), inside)


def _count(op: Builder, windows: ir.Value) -> ir.Value:
    return op.slice(op.Shape(windows), [1], [2], [0])


def _add(op: Builder, size: Any, more: int) -> Any:
    return size + more if isinstance(size, int) else op.Add(size, op.ints([more]))
