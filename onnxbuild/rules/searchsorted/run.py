"""Where values belong in sorted rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::searchsorted.Tensor": search}


def search(
    op: Builder,
    sorted_sequence: ir.Value,
    values: ir.Value,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: ir.Value | None = None,
) -> ir.Value:
    """Count the sorted values that are smaller; with `right`, those that are equal too."""
    if sorter is not None:
        raise ExportError(
            "searchsorted with a sorter has no translation",
            where="replace",
            hint="sort the sequence before: sequence.gather(-1, sorter)",
        )
    if op.rank(sorted_sequence) == 1:
        rows = sorted_sequence
    else:
        rows = op.unsqueeze(sorted_sequence, [op.rank(sorted_sequence) - 1])
    rank = op.rank(values)
    wide = op.unsqueeze(values, [rank])
    before = op.Not(op.Less(wide, rows)) if right or side == "right" else op.Less(rows, wide)
    count = op.reduce("ReduceSum", op.cast(before, ir.DataType.INT64), [rank])
    return op.cast(count, ir.DataType.INT32) if out_int32 else count
