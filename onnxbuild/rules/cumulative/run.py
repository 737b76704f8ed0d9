"""Sums, products, maxima over all that came before: for each position, over those that are not after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {
        "aten::cumsum": cumsum,
        "aten::cumprod": cumprod,
        "aten::logcumsumexp": logcumsumexp,
        "aten::cummax": cummax,
        "aten::cummin": cummin,
    }


def cumsum(op: Builder, x: ir.Value, dim: int, dtype: Any = None) -> ir.Value:
    """Give the running sums."""
    return _accumulate(op, _typed(op, x, dtype), dim, "ReduceSum", 0.0)


def cumprod(op: Builder, x: ir.Value, dim: int, dtype: Any = None) -> ir.Value:
    """Give the running products."""
    return _accumulate(op, _typed(op, x, dtype), dim, "ReduceProd", 1.0)


def logcumsumexp(op: Builder, x: ir.Value, dim: int) -> ir.Value:
    """Give the logarithms of running sums of exponentials, without overflow."""
    return _accumulate(op, x, dim, "ReduceLogSumExp", float("-inf"))


def cummax(op: Builder, x: ir.Value, dim: int) -> tuple[ir.Value, ir.Value]:
    """Give the running maxima and where each stands, the last one among equals."""
    return _extreme(op, x, dim, "ReduceMax")


def cummin(op: Builder, x: ir.Value, dim: int) -> tuple[ir.Value, ir.Value]:
    """Give the running minima and where each stands, the last one among equals."""
    return _extreme(op, x, dim, "ReduceMin")


def _typed(op: Builder, x: ir.Value, dtype: Any) -> ir.Value:
    if dtype is None or dtype == -1:
        # Torch adds up whole numbers, and truth values, as the widest ones.
        is_whole = x.dtype is not None and not x.dtype.is_floating_point()
        return op.cast(x, ir.DataType.INT64) if is_whole else x
    return op.cast(x, op.dtype(dtype))


def _accumulate(op: Builder, x: ir.Value, dim: int, name: str, neutral: float) -> ir.Value:
    if op.rank(x) == 0:
        return x
    rank = op.rank(x)
    dim %= rank
    pairs = _pairs(op, x, dim)
    kept = op.where(_earlier(op, x, dim), pairs, _neutral(x, neutral))
    return op.reduce(name, kept, [dim + 1])


def _extreme(op: Builder, x: ir.Value, dim: int, name: str) -> tuple[ir.Value, ir.Value]:
    rank = op.rank(x)
    if rank == 0:
        return x, op.constant(0)
    dim %= rank
    worst = _limit(x, low=name == "ReduceMax")
    earlier = _earlier(op, x, dim)
    pairs = _pairs(op, x, dim)
    best = op.reduce(name, op.where(earlier, pairs, worst), [dim + 1], keepdims=True)
    lost = op.Greater(best, pairs) if name == "ReduceMax" else op.Less(best, pairs)
    places = op.reshape(op.arange(op.size(x, dim)), [-1] + [1] * (rank - dim - 1))
    is_best = op.And(earlier, op.Not(lost))
    where = op.reduce("ReduceMax", op.where(is_best, places, op.constant(-1)), [dim + 1])
    return op.squeeze(best, [dim + 1]), where


def _pairs(op: Builder, x: ir.Value, dim: int) -> ir.Value:
    """Repeat the axis, so that there is one row for each position."""
    wide = [1] * (op.rank(x) + 1)
    return op.expand(op.unsqueeze(x, [dim]), [*wide[:dim], op.size(x, dim), *wide[dim + 1 :]])


def _earlier(op: Builder, x: ir.Value, dim: int) -> ir.Value:
    """Tell for each position which positions are not after it."""
    rank = op.rank(x)
    places = op.arange(op.size(x, dim))
    after = [1] * (rank - dim - 1)
    row = op.reshape(places, [-1, 1, *after])
    column = op.reshape(places, [1, -1, *after])
    return op.Not(op.Less(row, column))


def _neutral(x: ir.Value, neutral: float) -> float:
    return neutral if x.dtype is None or x.dtype.is_floating_point() else int(neutral)


def _limit(x: ir.Value, *, low: bool) -> float:
    dtype = x.dtype or ir.DataType.FLOAT
    if dtype.is_floating_point():
        return float("-inf") if low else float("inf")
    limits = np.iinfo(dtype.numpy())
    return limits.min if low else limits.max
