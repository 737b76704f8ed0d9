"""Gemm as a matrix product and a sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.patterns import pattern, rewrite


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Rewrite every Gemm without factors; give the nodes."""
    del options
    return rewrite(model, [_WithBias.rule(), _Bare.rule()])


def _product(op: Any, a: ir.Value, b: ir.Value, out: ir.Value) -> Any:
    attributes = out.producer().attributes  # type: ignore[union-attr]
    left, right = (
        op.Transpose(value, perm=[1, 0])
        if name in attributes and attributes[name].as_int()
        else value
        for name, value in (("transA", a), ("transB", b))
    )
    return op.MatMul(left, right)


def _is_plain(out: ir.Value) -> bool:
    """True if the products are not weighed."""
    attributes = out.producer().attributes  # type: ignore[union-attr]
    return all(
        name not in attributes or attributes[name].as_float() == 1.0 for name in ("alpha", "beta")
    )


class _WithBias(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def pattern(self, op: Any, a: Any, b: Any, c: Any) -> Any:
        return op.Gemm(a, b, c, _allow_other_attributes=True, _outputs=["out"])

    def check(self, context: Any, out: ir.Value, **_: Any) -> bool:
        del context
        return _is_plain(out)

    def rewrite(self, op: Any, a: ir.Value, b: ir.Value, c: ir.Value, out: ir.Value) -> Any:
        return op.Add(_product(op, a, b, out), c)


class _Bare(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def pattern(self, op: Any, a: Any, b: Any) -> Any:
        return op.Gemm(a, b, _allow_other_attributes=True, _outputs=["out"])

    def check(self, context: Any, out: ir.Value, **_: Any) -> bool:
        del context
        return _is_plain(out)

    def rewrite(self, op: Any, a: ir.Value, b: ir.Value, out: ir.Value) -> Any:
        return _product(op, a, b, out)
