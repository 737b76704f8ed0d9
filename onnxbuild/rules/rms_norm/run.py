"""Normalization by the root of the mean square."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::rms_norm": normalize}


def normalize(
    op: Builder,
    x: ir.Value,
    normalized_shape: Sequence[Any],
    weight: ir.Value | None = None,
    eps: float | None = None,
) -> ir.Value:
    """Divide by the root of the mean square over the last axes; `eps` is the type's own if left out."""
    rank = op.rank(x)
    axes = list(range(rank - len(normalized_shape), rank))
    dtype = x.dtype or ir.DataType.FLOAT
    limits = ml_dtypes.finfo(dtype.numpy())  # type: ignore[no-untyped-call]
    added = float(limits.eps) if eps is None else eps
    # As torch does, half precision is computed in single.
    wide = op.cast(x, ir.DataType.FLOAT) if dtype.bitwidth < 32 else x  # noqa: PLR2004 - bits
    mean = op.reduce("ReduceMean", op.Mul(wide, wide), axes, keepdims=True)
    normal = op.Div(wide, op.Sqrt(op.Add(mean, op.like(added, wide))))
    normal = op.cast(normal, dtype)
    return normal if weight is None else op.Mul(normal, weight)
