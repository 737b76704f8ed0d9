"""Attention in operators that every opset has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder

FINITE = float(np.finfo(np.float32).min)
"""What is below is minus infinity. Models mask with this number itself: a row of it has even weights, as in torch."""


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::scaled_dot_product_attention": attention}


def attention(
    op: Builder,
    query: ir.Value,
    key: ir.Value,
    value: ir.Value,
    attn_mask: ir.Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> ir.Value:
    """Give softmax(query @ key.T * scale + mask) @ value; a row that is masked whole gives zeros, as torch has it."""
    if dropout_p:
        raise ExportError(
            "attention with dropout gives other numbers each time",
            where="replace",
            hint="call it with dropout_p=0.0 where the module is not training",
        )
    if enable_gqa:
        key, value = (_repeat_heads(op, query, item) for item in (key, value))
    rank = op.rank(key)
    perm = [*range(rank - 2), rank - 1, rank - 2]
    scaled = op.Mul(query, _scale(op, query, scale))
    scores = op.MatMul(scaled, op.Transpose(key, perm=perm))
    keep = _causal(op, query, key) if is_causal else None
    if attn_mask is not None and attn_mask.dtype == ir.DataType.BOOL:
        keep = attn_mask
    elif attn_mask is not None:
        scores = op.Add(scores, attn_mask)
    if keep is not None:
        scores = op.where(keep, scores, float("-inf"))
    last = max(op.rank(query), rank) - 1
    weights = op.Softmax(scores, axis=last)
    if attn_mask is not None:
        highest = op.reduce("ReduceMax", scores, [last], keepdims=True)
        is_empty = op.Less(op.cast(highest, ir.DataType.FLOAT), op.constant(FINITE))
        weights = op.where(is_empty, op.like(0.0, query), weights)
    return op.MatMul(weights, value)


def _scale(op: Builder, query: ir.Value, scale: Any) -> ir.Value:
    if scale is not None:
        return scale if isinstance(scale, ir.Value) else op.like(scale, query)
    width = op.size(query, -1)
    if isinstance(width, int):
        return op.like(1.0 / math.sqrt(width), query)
    dtype = query.dtype or ir.DataType.FLOAT
    return op.Div(op.like(1.0, query), op.Sqrt(op.cast(width, dtype)))


def _causal(op: Builder, query: ir.Value, key: ir.Value) -> ir.Value:
    rows = op.reshape(op.arange(op.size(query, -2)), [-1, 1])
    columns = op.reshape(op.arange(op.size(key, -2)), [1, -1])
    return op.Not(op.Less(rows, columns))


def _repeat_heads(op: Builder, query: ir.Value, value: ir.Value) -> ir.Value:
    """Give each head of keys or values to as many heads of the query as share it."""
    rank = op.rank(value)
    wanted, given = op.size(query, -3), op.size(value, -3)
    if not isinstance(wanted, int) or not isinstance(given, int):
        raise ExportError("the number of heads of an attention is not known", where="replace")
    times = wanted // given
    if times == 1:
        return value
    axis = rank - 3
    wide = op.expand(op.unsqueeze(value, [axis + 1]), [*[1] * (axis + 1), times, *[1] * 2])
    sizes = [op.size(value, index) for index in range(rank)]
    sizes[axis] = wanted
    return op.reshape(wide, sizes)
