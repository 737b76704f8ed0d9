"""Attention in operators that every opset has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder
from onnxbuild.rules.plain_attention.spec import PlainAttention

FINITE = float(np.finfo(np.float32).min)
"""What is below is minus infinity. Models write this number itself into masks, and torch counts it like others."""

OWN = {"torchscript": 14, "dynamo": 0}
"""The opset from which on an exporter has a translation of its own."""

FUSED = 23
"""The opset from which on dynamo writes the operator Attention."""

RIGHT = {"torchscript": 14, "dynamo": FUSED}
"""The opset from which on that translation gives zeros for a row that a boolean mask hides whole, as torch does."""


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    rule = build(PlainAttention, options)
    return {
        "aten::scaled_dot_product_attention": attention_if_wrong if rule.only_wrong else attention
    }


def attention_if_wrong(
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
) -> Any:
    """Leave what the exporter writes rightly.

    Of a floating mask that hides a row whole dynamo and TorchScript make NaN, and the operator Attention of onnxruntime gives
    zeros for the least number too. dynamo makes a mean of a boolean one, below opset 23.
    """
    since = OWN if attn_mask is None else RIGHT
    is_float = attn_mask is not None and attn_mask.dtype != ir.DataType.BOOL
    is_fused = op.exporter == "dynamo" and op.opset >= FUSED
    if not is_float and op.opset >= since[op.exporter] and (is_fused or not enable_gqa):
        return NotImplemented
    return attention(
        op, query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )  # fmt: skip


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
    result = op.MatMul(op.Softmax(scores, axis=last), value)
    if attn_mask is None:
        return result
    return op.where(_hides(op, attn_mask), op.like(0.0, query), result)


def _hides(op: Builder, mask: ir.Value) -> ir.Value:
    """Say of each row of a mask whether it hides all, the last axis as 1."""
    last = op.rank(mask) - 1
    number = op.cast(mask, ir.DataType.FLOAT)
    highest = op.reduce("ReduceMax", number, [last], keepdims=True)
    if mask.dtype == ir.DataType.BOOL:
        return op.Not(op.cast(highest, ir.DataType.BOOL))
    return op.Less(highest, op.constant(FINITE))


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
