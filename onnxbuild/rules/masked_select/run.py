"""What a mask selects, as one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::masked_select": select}


def select(op: Builder, x: ir.Value, mask: ir.Value) -> ir.Value:
    """Give the values where the mask is true; both are first made of one shape."""
    wide = op.Expand(x, op.Shape(mask))
    # Expand does not take booleans in every runtime; as numbers they are the same.
    chosen = op.Expand(op.cast(mask, ir.DataType.INT32), op.Shape(x))
    flat = op.cast(op.reshape(chosen, [-1]), ir.DataType.BOOL)
    return op.Compress(op.reshape(wide, [-1]), flat, axis=0)
