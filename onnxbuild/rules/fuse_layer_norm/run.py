"""The nodes of a layer normalization as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.patterns import constant_of, need_opset, pattern, reduces_last, rewrite

SINCE = 17


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Fuse every layer normalization over the last axis; give the nodes."""
    del options
    need_opset(model, SINCE, "LayerNormalization")
    return rewrite(model, [_Fuse.rule()])


class _Fuse(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def pattern(self, op: Any, x: Any, scale: Any, bias: Any, epsilon: Any) -> Any:
        mean = op.ReduceMean(
            x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["mean"]
        )
        apart = op.Sub(x, mean)
        square = pattern.OrValue([op.Mul(apart, apart), op.Pow(apart, 2.0)])
        variance = op.ReduceMean(
            square, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["variance"]
        )
        normal = op.Div(apart, op.Sqrt(op.Add(variance, epsilon)))
        return op.Add(op.Mul(normal, scale), bias)

    def check(
        self, context: Any, x: ir.Value, scale: ir.Value, bias: ir.Value, epsilon: ir.Value,
        mean: ir.Value, variance: ir.Value,
    ) -> bool:  # fmt: skip
        del context, x
        rows = [value.shape for value in (scale, bias)]
        return (
            constant_of(epsilon) is not None
            and all(shape is not None and len(shape) == 1 for shape in rows)
            and reduces_last(mean)
            and reduces_last(variance)
        )

    def rewrite(
        self, op: Any, x: ir.Value, scale: ir.Value, bias: ir.Value, epsilon: ir.Value, **_: Any
    ) -> Any:
        return op.LayerNormalization(x, scale, bias, axis=-1, epsilon=constant_of(epsilon))
