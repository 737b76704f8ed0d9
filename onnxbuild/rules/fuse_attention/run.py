"""The nodes of an attention over four-dimensional queries, keys and values as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.patterns import constant_of, need_opset, pattern, rewrite

SINCE = 23
RANK = 4
MATRIX = 2


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Fuse every attention; give the nodes."""
    del options
    need_opset(model, SINCE, "Attention")
    kinds = (_Split, _SplitMasked, _Scaled, _ScaledMasked)
    return rewrite(model, [kind.rule() for kind in kinds], commute=True)


def _split(op: Any, q: Any, k: Any, one: Any, two: Any) -> Any:
    """Both the query and the key are multiplied by the root of the scale, as torch's exporters write it."""
    turned = op.Transpose(k, perm=[0, 1, 3, 2])
    return op.MatMul(op.Mul(q, one), op.Mul(turned, two))


def _scaled(op: Any, q: Any, k: Any, one: Any) -> Any:
    """The scores, or the query, are multiplied or divided by a number."""
    turned = op.Transpose(k, perm=[0, 1, 3, 2])
    forms = [
        op.Mul(op.MatMul(q, turned), one),
        op.MatMul(op.Mul(q, one), turned),
        op.Div(op.MatMul(q, turned), one),
        op.MatMul(op.Div(q, one), turned),
    ]
    return pattern.OrValue(forms, tag_var="divides", tag_values=[0, 0, 1, 1])


class _Attention(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def check(self, context: Any, q: ir.Value, k: ir.Value, v: ir.Value, **found: Any) -> bool:
        del context
        mask = found.get("mask")
        fits = mask is None or (mask.shape is not None and MATRIX <= len(mask.shape) <= RANK)
        ranks = [value.shape is not None and len(value.shape) == RANK for value in (q, k, v)]
        return all(ranks) and fits and _scale(**found) is not None

    def rewrite(
        self,
        op: Any,
        q: ir.Value,
        k: ir.Value,
        v: ir.Value,
        mask: ir.Value | None = None,
        **found: Any,
    ) -> Any:
        inputs = [q, k, v] if mask is None else [q, k, v, mask]
        return op.Attention(*inputs, scale=_scale(**found))


def _scale(one: ir.Value, two: ir.Value | None = None, divides: int = 0, **_: Any) -> float | None:
    first = constant_of(one)
    second = 1.0 if two is None else constant_of(two)
    if first is None or second is None or not first:
        return None
    scale = 1.0 / first if divides else first * second
    # Runtimes multiply queries and keys with its root.
    return scale if scale > 0 else None


class _Split(_Attention):
    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any, two: Any) -> Any:
        return op.MatMul(op.Softmax(_split(op, q, k, one, two), axis=-1), v)


class _SplitMasked(_Attention):
    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any, two: Any, mask: Any) -> Any:
        scores = op.Add(_split(op, q, k, one, two), mask)
        return op.MatMul(op.Softmax(scores, axis=-1), v)


class _Scaled(_Attention):
    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any) -> Any:
        return op.MatMul(op.Softmax(_scaled(op, q, k, one), axis=-1), v)


class _ScaledMasked(_Attention):
    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any, mask: Any) -> Any:
        return op.MatMul(op.Softmax(op.Add(_scaled(op, q, k, one), mask), axis=-1), v)
