"""Distances between all pairs of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder

EUCLIDEAN = 2.0


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::cdist": distances, "aten::_cdist_forward": distances}


def distances(
    op: Builder, x1: ir.Value, x2: ir.Value, p: float = EUCLIDEAN, compute_mode: Any = None
) -> ir.Value:
    """Give the distances [..., P, R] of rows [..., P, M] and [..., R, M]."""
    # How torch computes them changes only their last digits.
    del compute_mode
    rank, other = op.rank(x1), op.rank(x2)
    apart = op.Sub(op.unsqueeze(x1, [rank - 1]), op.unsqueeze(x2, [other - 2]))
    last = [max(rank, other)]
    if p == EUCLIDEAN:
        return op.Sqrt(op.reduce("ReduceSum", op.Mul(apart, apart), last))
    size = op.Abs(apart)
    if p == 0:
        zero = op.like(0.0, x1)
        differs = op.cast(op.Greater(size, zero), x1.dtype or ir.DataType.FLOAT)
        return op.reduce("ReduceSum", differs, last)
    if math.isinf(p):
        return op.reduce("ReduceMax", size, last)
    if p == 1:
        return op.reduce("ReduceSum", size, last)
    total = op.reduce("ReduceSum", op.Pow(size, op.like(p, x1)), last)
    return op.Pow(total, op.like(1.0 / p, x1))
