"""Each slice of a tensor several times in a row: by one number, or by a number for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {
        "aten::repeat_interleave.self_int": repeat,
        "aten::repeat_interleave.self_Tensor": repeat_each,
    }


def repeat(
    op: Builder, x: ir.Value, repeats: Any, dim: int | None = None, *, output_size: Any = None
) -> ir.Value:
    """Repeat each slice the same number of times."""
    del output_size
    if dim is None:
        x, dim = op.reshape(x, [-1]), 0
    dim %= op.rank(x)
    each = [op.size(x, axis) for axis in range(op.rank(x))]
    length = each[dim]
    wide = op.expand(op.unsqueeze(x, [dim + 1]), [*each[: dim + 1], repeats, *each[dim + 1 :]])
    each[dim] = op.product([length, repeats])
    return op.reshape(wide, each)


def repeat_each(
    op: Builder, x: ir.Value, repeats: ir.Value, dim: int | None = None, *, output_size: Any = None
) -> ir.Value:
    """Repeat each slice as often as its own number says."""
    del output_size
    if dim is None:
        x, dim = op.reshape(x, [-1]), 0
    dim %= op.rank(x)
    length = op.size(x, dim)
    # One number may stand for all.
    counts = op.Expand(op.reshape(op.as_int(repeats), [-1]), op.ints([length]))
    places = op.arange(length)
    before = op.Less(
        op.reshape(places, [1, -1]), op.Add(op.reshape(places, [-1, 1]), op.constant(1))
    )
    ends = op.MatMul(
        op.Cast(before, to=int(ir.DataType.FLOAT)),
        op.unsqueeze(op.Cast(counts, to=int(ir.DataType.FLOAT)), [1]),
    )
    total = op.reduce("ReduceSum", counts, [0], keepdims=True)
    passed = op.Less(
        ends, op.Cast(op.reshape(op.Add(op.arange(total), op.constant(1)), [1, -1]), to=1)
    )
    return op.Gather(
        x, op.reduce("ReduceSum", op.Cast(passed, to=int(ir.DataType.INT64)), [0]), axis=dim
    )
