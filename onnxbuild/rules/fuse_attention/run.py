"""The nodes of an attention over four-dimensional queries, keys and values as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.patterns import constant_of, need_opset, pattern, rewrite

SINCE = 23
RANK = 4


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Fuse every attention; give the nodes."""
    del options
    need_opset(model, SINCE, "Attention")
    return rewrite(model, [kind.rule() for kind in (_Split, _SplitMasked, _Scaled, _ScaledMasked)])


class _Split(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    """Both the query and the key are multiplied by the root of the scale, as torch's exporters write it."""

    def _scores(self, op: Any, q: Any, k: Any, one: Any, two: Any) -> Any:
        turned = op.Transpose(k, perm=[0, 1, 3, 2])
        return op.MatMul(op.Mul(q, one), op.Mul(turned, two))

    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any, two: Any) -> Any:
        return op.MatMul(op.Softmax(self._scores(op, q, k, one, two), axis=-1), v)

    def check(self, context: Any, q: ir.Value, k: ir.Value, v: ir.Value, **found: Any) -> bool:
        del context
        ranks = [value.shape is not None and len(value.shape) == RANK for value in (q, k, v)]
        return all(ranks) and self._scale(**found) is not None and self._fits(**found)

    def _fits(self, mask: ir.Value | None = None, **_: Any) -> bool:
        """True if there is no mask, or one of numbers that the operator takes."""
        return mask is None or (mask.shape is not None and 2 <= len(mask.shape) <= RANK)  # noqa: PLR2004 - ranks

    def _scale(self, one: ir.Value, two: ir.Value, **_: Any) -> float | None:
        first, second = constant_of(one), constant_of(two)
        return None if first is None or second is None else first * second

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
        return op.Attention(*inputs, scale=self._scale(**found))


class _SplitMasked(_Split):
    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any, two: Any, mask: Any) -> Any:
        scores = op.Add(self._scores(op, q, k, one, two), mask)
        return op.MatMul(op.Softmax(scores, axis=-1), v)


class _Scaled(_Split):
    """The scores, or the query, are multiplied by the scale."""

    def _scores(self, op: Any, q: Any, k: Any, one: Any, two: Any) -> Any:
        del two
        turned = op.Transpose(k, perm=[0, 1, 3, 2])
        return pattern.OrValue(
            [op.Mul(op.MatMul(q, turned), one), op.MatMul(op.Mul(q, one), turned)]
        )

    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any) -> Any:
        return op.MatMul(op.Softmax(self._scores(op, q, k, one, None), axis=-1), v)

    def _scale(self, one: ir.Value, **_: Any) -> float | None:
        return constant_of(one)


class _ScaledMasked(_Scaled):
    def pattern(self, op: Any, q: Any, k: Any, v: Any, one: Any, mask: Any) -> Any:
        scores = op.Add(self._scores(op, q, k, one, None), mask)
        return op.MatMul(op.Softmax(scores, axis=-1), v)
