"""Values by their rank: `median` and `kthvalue`."""

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
        "aten::median.default": median,
        "aten::median.dim": median_of,
        "aten::kthvalue.default": kthvalue,
    }


def median(op: Builder, x: ir.Value) -> ir.Value:
    """Give the lower median of all values."""
    flat = op.reshape(x, [-1])
    values, _ = _smallest(op, flat, 0, _middle(op, flat, 0), keepdim=False)
    return values


def median_of(
    op: Builder, x: ir.Value, dim: int, keepdim: bool = False
) -> tuple[ir.Value, ir.Value]:
    """Give the lower median along an axis, and where it stands."""
    return _smallest(op, x, dim, _middle(op, x, dim), keepdim=keepdim)


def kthvalue(
    op: Builder, x: ir.Value, k: int, dim: int = -1, keepdim: bool = False
) -> tuple[ir.Value, ir.Value]:
    """Give the k-th smallest value along an axis, counted from 1, and where it stands."""
    return _smallest(op, x, dim, k, keepdim=keepdim)


def _middle(op: Builder, x: ir.Value, dim: int) -> Any:
    size = op.size(x, dim)
    if isinstance(size, int):
        return (size + 1) // 2
    return op.Div(op.Add(size, op.ints([1])), op.ints([2]))


def _smallest(
    op: Builder, x: ir.Value, dim: int, rank: Any, *, keepdim: bool
) -> tuple[ir.Value, ir.Value]:
    dim %= op.rank(x)
    values, places = op.smallest(x, rank, dim)
    last = (
        op.Sub(rank, op.ints([1]))
        if isinstance(rank, ir.Value)
        else op.constant(np.array([rank - 1], np.int64))
    )
    found = [op.Gather(item, last, axis=dim) for item in (values, places)]
    if not keepdim:
        found = [op.squeeze(item, [dim]) for item in found]
    return found[0], found[1]
