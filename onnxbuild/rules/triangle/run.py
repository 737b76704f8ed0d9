"""The upper or lower triangle of matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::triu": triu, "aten::tril": tril}


def triu(op: Builder, x: ir.Value, diagonal: Any = 0) -> ir.Value:
    """Keep what is on a diagonal or above it."""
    rows, columns = _places(op, x, diagonal)
    return _keep(op, x, op.Not(op.Less(columns, rows)))


def tril(op: Builder, x: ir.Value, diagonal: Any = 0) -> ir.Value:
    """Keep what is on a diagonal or below it."""
    rows, columns = _places(op, x, diagonal)
    return _keep(op, x, op.Not(op.Less(rows, columns)))


def _places(op: Builder, x: ir.Value, diagonal: Any) -> tuple[ir.Value, ir.Value]:
    rows = op.reshape(op.arange(op.size(x, -2)), [-1, 1])
    columns = op.reshape(op.arange(op.size(x, -1)), [1, -1])
    return op.Add(rows, op.as_int(diagonal)), columns


def _keep(op: Builder, x: ir.Value, mask: ir.Value) -> ir.Value:
    return op.And(x, mask) if x.dtype == ir.DataType.BOOL else op.where(mask, x, 0)
