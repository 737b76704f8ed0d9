"""Values moved along axes, those that leave at one end coming back at the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::roll": roll}


def roll(op: Builder, x: ir.Value, shifts: Any, dims: Sequence[int] = ()) -> ir.Value:
    """Move by each shift along its axis; without axes, over the flat tensor."""
    amounts = list(shifts) if isinstance(shifts, list | tuple) else [shifts]
    if not dims:
        return op.Reshape(_roll(op, op.reshape(x, [-1]), amounts[0], 0), op.Shape(x))
    for amount, dim in zip(amounts, dims, strict=True):
        x = _roll(op, x, amount, dim % op.rank(x))
    return x


def _roll(op: Builder, x: ir.Value, amount: Any, dim: int) -> ir.Value:
    size = op.size(x, dim)
    if isinstance(size, int) and isinstance(amount, int):
        cut = -amount % size if size else 0
        if cut == 0:
            return x
        return op.Concat(
            op.slice(x, [cut], [size], [dim]), op.slice(x, [0], [cut], [dim]), axis=dim
        )
    count = op.ints([size])
    if op.opset >= 10:  # noqa: PLR2004 - which slices at places that vary
        ahead = op.Sub(op.ints([0]), op.ints([amount]))
        # The remainder in integers, first of either sign, then positive.
        ahead = op.Add(op.Sub(ahead, op.Mul(op.Div(ahead, count), count)), count)
        cut = op.Sub(ahead, op.Mul(op.Div(ahead, count), count))
        return op.Concat(
            op.slice(x, [cut], [count], [dim]), op.slice(x, [0], [cut], [dim]), axis=dim
        )
    from_ = op.Sub(op.arange(size), op.ints([amount]))
    from_ = op.Sub(from_, op.Mul(op.Div(from_, count), count))
    from_ = op.Add(from_, count)
    return op.Gather(x, op.Sub(from_, op.Mul(op.Div(from_, count), count)), axis=dim)
