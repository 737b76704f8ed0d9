"""The grid of `affine_grid`: positions of pixels in [-1, 1], moved by each matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::affine_grid_generator": grid}


def grid(op: Builder, theta: ir.Value, size: Sequence[Any], align_corners: bool) -> ir.Value:
    """Give the grid [N, H, W, 2], or [N, D, H, W, 3], for matrices [N, 2, 3] or [N, 3, 4]."""
    spatial = list(size[2:])
    axes = len(spatial)
    columns = []
    for axis in reversed(range(axes)):
        line = _line(op, spatial[axis], theta, align_corners)
        shape = [1] * (axes + 1)
        shape[axis] = -1
        columns.append(op.expand(op.reshape(line, shape), [*spatial, 1]))
    ones = op.expand(op.like(1.0, theta), [*spatial, 1])
    points = op.reshape(op.Concat(*columns, ones, axis=axes), [1, -1, axes + 1])
    moved = op.MatMul(points, op.Transpose(theta, perm=[0, 2, 1]))
    return op.reshape(moved, [-1, *spatial, axes])


def _line(op: Builder, size: Any, like: ir.Value, align_corners: bool) -> ir.Value:
    """Give the middles of `size` pixels between -1 and 1; with `align_corners`, the outermost lie on them."""
    dtype = like.dtype or ir.DataType.FLOAT
    place = op.cast(op.arange(size), dtype)
    count = op.cast(op.Reshape(op.as_int(size), op.constant(np.array([1], np.int64))), dtype)
    one = op.like(1.0, like)
    two = op.like(2.0, like)
    if not align_corners:
        return op.Sub(op.Div(op.Add(op.Mul(place, two), one), count), one)
    steps = op.Sub(count, one)
    # A single pixel is in the middle.
    single = op.Max(op.Sub(one, steps), op.like(0.0, like))
    return op.Add(op.Sub(op.Div(op.Mul(place, two), op.Max(steps, one)), one), single)
