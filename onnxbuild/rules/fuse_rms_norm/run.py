"""The nodes of an RMS normalization as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.core.values import build
from onnxbuild.rules.fuse_rms_norm.spec import FuseRmsNorm
from onnxbuild.rules.patterns import constant_of, need_opset, pattern, reduces_last, rewrite

SINCE = 23


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Fuse every RMS normalization over the last axis; give the nodes."""
    rule = build(FuseRmsNorm, options)
    opset = model.opset_imports.get("", 0)
    if rule.target == "onnx":
        need_opset(model, SINCE, "RMSNormalization")
    name = "RMSNormalization" if opset >= SINCE else "SimplifiedLayerNormalization"
    return rewrite(model, [_Fuse.rule(name), _FuseReciprocal.rule(name)])


class _Fuse(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def __init__(self, fused: str) -> None:
        super().__init__()
        self.fused = fused

    def _root(self, op: Any, x: Any, epsilon: Any) -> Any:
        square = pattern.OrValue([op.Mul(x, x), op.Pow(x, 2.0)])
        mean = op.ReduceMean(
            square, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["mean"]
        )
        return op.Sqrt(op.Add(mean, epsilon))

    def pattern(self, op: Any, x: Any, scale: Any, epsilon: Any) -> Any:
        return op.Mul(op.Div(x, self._root(op, x, epsilon)), scale)

    def check(
        self, context: Any, x: ir.Value, scale: ir.Value, epsilon: ir.Value, mean: ir.Value
    ) -> bool:
        del context, x
        is_row = scale.shape is not None and len(scale.shape) == 1
        return is_row and constant_of(epsilon) is not None and reduces_last(mean)

    def rewrite(self, op: Any, x: ir.Value, scale: ir.Value, epsilon: ir.Value, **_: Any) -> Any:
        return getattr(op, self.fused)(x, scale, axis=-1, epsilon=constant_of(epsilon))


class _FuseReciprocal(_Fuse):
    def pattern(self, op: Any, x: Any, scale: Any, epsilon: Any) -> Any:
        return op.Mul(op.Mul(x, op.Reciprocal(self._root(op, x, epsilon))), scale)
