"""A matrix product and the sum with a bias as one Gemm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.patterns import pattern, rewrite

MATRIX = 2


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Rewrite every product of two matrices to which a row is added; give the nodes."""
    del options
    return rewrite(model, [_Fuse.rule(), _FuseOther.rule()])


def _fits(a: ir.Value, b: ir.Value, c: ir.Value) -> bool:
    """True if all ranks are known: two matrices, and a bias that does not make the product larger."""
    if a.shape is None or b.shape is None or c.shape is None:
        return False
    columns = b.shape[-1]
    bias = list(c.shape)
    return (
        len(a.shape) == len(b.shape) == MATRIX
        and len(bias) == 1
        and isinstance(columns, int)
        and bias[0] in {1, columns}
    )


class _Fuse(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def pattern(self, op: Any, a: Any, b: Any, c: Any) -> Any:
        return op.Add(op.MatMul(a, b), c)

    def check(self, context: Any, a: ir.Value, b: ir.Value, c: ir.Value) -> bool:
        del context
        return _fits(a, b, c)

    def rewrite(self, op: Any, a: ir.Value, b: ir.Value, c: ir.Value) -> Any:
        return op.Gemm(a, b, c)


class _FuseOther(_Fuse):
    def pattern(self, op: Any, a: Any, b: Any, c: Any) -> Any:
        return op.Add(c, op.MatMul(a, b))
