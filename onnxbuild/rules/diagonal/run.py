"""Diagonals of matrices, matrices of diagonals, and products of every value with every other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {
        "aten::diagonal": diagonal,
        "aten::trace": trace,
        "aten::diag_embed": diag_embed,
        "aten::kron": kron,
    }


def diagonal(op: Builder, x: ir.Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> ir.Value:
    """Give the values whose second index is `offset` above the first."""
    rank = op.rank(x)
    dim1, dim2 = dim1 % rank, dim2 % rank
    rest = [axis for axis in range(rank) if axis not in {dim1, dim2}]
    rows, columns = op.size(x, dim1), op.size(x, dim2)
    first, above = max(0, -offset), max(0, offset)
    count = _smaller(op, _less(op, rows, first), _less(op, columns, above))
    moved = op.Transpose(x, perm=[*rest, dim1, dim2])
    flat = op.reshape(moved, [*[op.size(x, axis) for axis in rest], -1])
    at = op.arange(count)
    row = op.Add(at, op.constant(first))
    places = op.Add(op.Mul(row, op.ints([columns])), op.Add(at, op.constant(above)))
    return op.Gather(flat, places, axis=len(rest))


def _less(op: Builder, size: Any, number: int) -> Any:
    """Take a number off a size, down to zero."""
    if isinstance(size, int):
        return max(0, size - number)
    if not number:
        return size
    left = op.Sub(size, op.ints([number]))
    return op.Where(op.Less(left, op.ints([0])), op.ints([0]), left)


def _smaller(op: Builder, one: Any, other: Any) -> Any:
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other)
    one, other = op.ints([one]), op.ints([other])
    return op.Where(op.Less(one, other), one, other)


def trace(op: Builder, x: ir.Value) -> ir.Value:
    """Add up the diagonal of a matrix."""
    return op.reduce("ReduceSum", diagonal(op, x), [0])


def diag_embed(
    op: Builder, x: ir.Value, offset: int = 0, dim1: int = -2, dim2: int = -1
) -> ir.Value:
    """Give matrices with these diagonals."""
    rank = op.rank(x) + 1
    if offset or (dim1 % rank, dim2 % rank) != (rank - 2, rank - 1):
        raise ExportError(
            "diag_embed off the diagonal, or along other axes than the last, has no translation",
            where="replace",
            hint="pad, or transpose, its result; or say `exporter: dynamo`",
        )
    places = op.arange(op.size(x, -1))
    same = op.Equal(op.reshape(places, [-1, 1]), op.reshape(places, [1, -1]))
    return op.where(same, op.unsqueeze(x, [rank - 1]), 0.0)


def kron(op: Builder, x: ir.Value, other: ir.Value) -> ir.Value:
    """Give every value of one times every value of the other, block by block."""
    rank = max(op.rank(x), op.rank(other))
    sizes = []
    for value in (x, other):
        own = [op.size(value, axis) for axis in range(op.rank(value))]
        sizes.append([1] * (rank - len(own)) + own)
    one = op.reshape(x, [item for size in sizes[0] for item in (size, 1)])
    two = op.reshape(other, [item for size in sizes[1] for item in (1, size)])
    return op.reshape(op.Mul(one, two), [op.product(pair) for pair in zip(*sizes, strict=True)])
