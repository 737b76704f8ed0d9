"""Numbers in place of NaN and infinities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::nan_to_num": replace}


def replace(
    op: Builder,
    x: ir.Value,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> ir.Value:
    """Replace NaN by `nan` (0), and infinities by the given numbers, or the type's largest and smallest."""
    dtype = x.dtype or ir.DataType.FLOAT
    if not dtype.is_floating_point():
        return op.Identity(x)
    largest = float(ml_dtypes.finfo(dtype.numpy()).max)  # type: ignore[no-untyped-call]
    finite = op.where(op.IsNaN(x), op.like(nan or 0.0, x), x)
    high = op.where(
        op.Greater(finite, op.like(largest, x)),
        op.like(largest if posinf is None else posinf, x),
        finite,
    )
    low = op.Less(finite, op.like(-largest, x))
    return op.where(low, op.like(-largest if neginf is None else neginf, x), high)
