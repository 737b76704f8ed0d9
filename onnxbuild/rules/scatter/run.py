"""Values put together at places that may repeat: by reductions of `ScatterElements` where the opset has them, else by comparing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder
from onnxbuild.rules.scatter.adding import SINCE, index_add
from onnxbuild.rules.scatter.putting import index_put, masked_scatter

KINDS = {"sum": "add", "mean": "add", "prod": "mul", "amax": "max", "amin": "min"}
"""By what torch calls a reduction, what ONNX does."""

REDUCES = {"mul": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {
        "aten::scatter_add": scatter_add,
        "aten::scatter_reduce.two": scatter_reduce,
        "aten::index_add": index_add,
        "aten::index_put": index_put,
        "aten::masked_scatter": masked_scatter,
    }


def scatter_add(op: Builder, x: ir.Value, dim: int, index: ir.Value, src: ir.Value) -> ir.Value:
    """Add values at places along an axis."""
    return scatter_reduce(op, x, dim, index, src, "sum")


def scatter_reduce(
    op: Builder,
    x: ir.Value,
    dim: int,
    index: ir.Value,
    src: ir.Value,
    reduce: str,
    *,
    include_self: bool = True,
) -> ir.Value:
    """Put values at places along an axis together, with what is there or without."""
    rank = op.rank(x)
    if rank == 0:
        raise ExportError("scatter into a single value has no translation", where="replace")
    dim %= rank
    # Torch takes as much of the source as there are places.
    places = op.sizes(index)
    if (None in places or places != op.sizes(src)) and op.opset >= 10:  # noqa: PLR2004 - slices at places that vary
        src = op.slice(src, [0] * rank, [op.size(index, a) for a in range(rank)], range(rank))
    kind = KINDS[reduce]
    if op.opset >= SINCE[kind]:
        found, count = _scattered(op, x, dim, index, src, kind, include_self, reduce == "mean")
    else:
        found, count = _compared(op, x, dim, index, src, kind, include_self, reduce == "mean")
    if count is None:
        return found
    zero = op.Equal(op.cast(count, ir.DataType.INT64), op.constant(0))
    some = op.Where(zero, op.like(1, count), count)
    return op.Div(found, some)


def _scattered(
    op: Builder,
    x: ir.Value,
    dim: int,
    index: ir.Value,
    src: ir.Value,
    kind: str,
    include_self: bool,
    count: bool,
) -> tuple[ir.Value, ir.Value | None]:
    """Reduce by `ScatterElements`; give besides how many values are in each place, if asked."""
    shape = op.Shape(index)
    counts = None
    if count:
        ones = op.Expand(op.like(1, x), op.Shape(x))
        start = ones if include_self else _set(op, ones, dim, index, 0, x)
        counts = op.ScatterElements(
            start, index, op.Expand(op.like(1, x), shape), axis=dim, reduction="add"
        )
    if not include_self:
        x = _set(op, x, dim, index, _neutral(kind, x), x)
    return op.ScatterElements(x, index, src, axis=dim, reduction=kind), counts


def _set(
    op: Builder, x: ir.Value, dim: int, index: ir.Value, value: float, like: ir.Value
) -> ir.Value:
    return op.ScatterElements(x, index, op.Expand(op.like(value, like), op.Shape(index)), axis=dim)


def _neutral(kind: str, x: ir.Value) -> float:
    """Give what changes nothing: 0, 1, or the least or greatest value of the type."""
    if kind in {"add", "mul"}:
        return float(kind == "mul")
    dtype = x.dtype or ir.DataType.FLOAT
    if dtype.is_floating_point():
        return float("-inf") if kind == "max" else float("inf")
    return int(dtype.min if kind == "max" else dtype.max)


def _compared(
    op: Builder,
    x: ir.Value,
    dim: int,
    index: ir.Value,
    src: ir.Value,
    kind: str,
    include_self: bool,
    count: bool,
) -> tuple[ir.Value, ir.Value | None]:
    """Reduce by comparing every place with every index."""
    order = [axis for axis in range(op.rank(x)) if axis != dim] + [dim]
    back = [order.index(axis) for axis in range(len(order))]
    x, index, src = (op.Transpose(value, perm=order) for value in (x, index, src))
    places = op.reshape(op.arange(op.size(x, -1)), [-1, 1])
    hit = op.Equal(op.unsqueeze(op.as_int(index), [len(order) - 1]), places)
    number = op.Cast(hit, to=int(x.dtype or ir.DataType.FLOAT))
    counts = op.reduce("ReduceSum", number, [-1])
    taken = op.Cast(counts, to=int(ir.DataType.BOOL))
    if kind == "add":
        found = op.squeeze(op.MatMul(number, op.unsqueeze(src, [len(order)])), [len(order)])
        result = op.Add(x, found) if include_self else op.Where(taken, found, x)
    else:
        neutral = op.like(_neutral(kind, x), x)
        chosen = op.Where(hit, op.unsqueeze(src, [len(order) - 1]), neutral)
        found = op.reduce(REDUCES[kind], chosen, [-1])
        joined = _join(op, kind, x, found) if include_self else found
        result = op.Where(taken, joined, x)
    if include_self:
        counts = op.Add(counts, op.like(1, x))
    result, counts = op.Transpose(result, perm=back), op.Transpose(counts, perm=back)
    return result, counts if count else None


def _join(op: Builder, kind: str, left: ir.Value, right: ir.Value) -> ir.Value:
    if kind == "mul":
        return op.Mul(left, right)
    less = op.Less(left, right)
    return op.Where(less, right, left) if kind == "max" else op.Where(less, left, right)
