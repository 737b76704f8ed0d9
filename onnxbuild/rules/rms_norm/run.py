"""Normalization by the root of the mean square."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
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
    """Divide by the root of the mean square over the last axes; `eps` is that of the type that is computed in if left out."""
    rank = op.rank(x)
    axes = list(range(rank - len(normalized_shape), rank))
    dtype = x.dtype or ir.DataType.FLOAT
    # As torch does, half precision is computed in single, of which its own `eps` is then.
    kind = ir.DataType.FLOAT if dtype.bitwidth < 32 else dtype  # noqa: PLR2004 - bits
    wide = op.cast(x, kind)
    added = float(np.finfo(kind.numpy()).eps) if eps is None else eps
    mean = op.reduce("ReduceMean", op.Mul(wide, wide), axes, keepdims=True)
    normal = op.Div(wide, op.Sqrt(op.Add(mean, op.like(added, wide))))
    normal = op.cast(normal, dtype)
    return normal if weight is None else op.Mul(normal, weight)
