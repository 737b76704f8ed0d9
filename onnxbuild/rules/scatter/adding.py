"""Slices added at places along an axis that may repeat."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder

SINCE = {"add": 16, "mul": 16, "max": 18, "min": 18}
"""The opset from which on `ScatterElements` has a reduction."""


def index_add(
    op: Builder, x: ir.Value, dim: int, index: ir.Value, source: ir.Value, alpha: Any = 1
) -> ir.Value:
    """Add the slices of a tensor at places along an axis."""
    rank = op.rank(x)
    dim %= rank
    if isinstance(alpha, ir.Value) or alpha != 1:
        source = op.Mul(source, alpha if isinstance(alpha, ir.Value) else op.like(alpha, source))
    if op.opset >= SINCE["add"]:
        shape = [-1 if axis == dim else 1 for axis in range(rank)]
        everywhere = op.Expand(op.reshape(index, shape), op.Shape(source))
        return op.ScatterElements(x, everywhere, source, axis=dim, reduction="add")
    order = [axis for axis in range(rank) if axis != dim] + [dim]
    back = [order.index(axis) for axis in range(rank)]
    places = op.reshape(op.arange(op.size(x, dim)), [1, -1])
    hit = op.Equal(op.reshape(op.as_int(index), [-1, 1]), places)
    number = op.Cast(hit, to=int(x.dtype or ir.DataType.FLOAT))
    added = op.MatMul(op.Transpose(source, perm=order), number)
    return op.Add(x, op.Transpose(added, perm=back))
