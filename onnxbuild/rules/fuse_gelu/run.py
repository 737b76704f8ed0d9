"""The nodes of a GELU as one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.patterns import constant_of, need_opset, pattern, rewrite

SINCE = 20
ROOT = math.sqrt(2)
CUBE = 0.044715


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Fuse every GELU, exact or by tanh; give the nodes."""
    del options
    need_opset(model, SINCE, "Gelu")
    return rewrite(model, [kind.rule() for kind in (_Exact, _ExactLast, _Tanh, _TanhLast)])


def _are(**wanted: tuple[ir.Value, float]) -> bool:
    found = ((constant_of(value), number) for value, number in wanted.values())
    return all(
        value is not None and math.isclose(value, number, rel_tol=1e-3) for value, number in found
    )


def _erf(op: Any, x: Any, scale: Any) -> Any:
    inner = pattern.OrValue(
        [op.Div(x, scale), op.Mul(x, scale)], tag_var="scaled", tag_values=[0, 1]
    )
    return op.Add(op.Erf(inner), 1.0)


class _Exact(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def pattern(self, op: Any, x: Any, scale: Any, half: Any) -> Any:
        return op.Mul(op.Mul(x, _erf(op, x, scale)), half)

    def check(
        self, context: Any, scale: ir.Value, half: ir.Value, scaled: int = 0, **_: Any
    ) -> bool:
        del context
        return _are(half=(half, 0.5), scale=(scale, 1 / ROOT if scaled else ROOT))

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        return op.Gelu(x)


class _ExactLast(_Exact):
    def pattern(self, op: Any, x: Any, scale: Any, half: Any) -> Any:
        return op.Mul(op.Mul(x, half), _erf(op, x, scale))


def _tanh(op: Any, x: Any, cube: Any, three: Any, root: Any) -> Any:
    inner = op.Add(x, op.Mul(op.Pow(x, three), cube))
    return op.Add(op.Tanh(op.Mul(inner, root)), 1.0)


class _Tanh(pattern.RewriteRuleClassBase):  # type: ignore[misc]
    def pattern(self, op: Any, x: Any, cube: Any, three: Any, root: Any, half: Any) -> Any:
        return op.Mul(op.Mul(x, half), _tanh(op, x, cube, three, root))

    def check(
        self,
        context: Any,
        cube: ir.Value,
        three: ir.Value,
        root: ir.Value,
        half: ir.Value,
        **_: Any,
    ) -> bool:
        del context
        return _are(
            cube=(cube, CUBE),
            three=(three, 3.0),
            root=(root, math.sqrt(2 / math.pi)),
            half=(half, 0.5),
        )

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        return op.Gelu(x, approximate="tanh")


class _TanhLast(_Tanh):
    def pattern(self, op: Any, x: Any, cube: Any, three: Any, root: Any, half: Any) -> Any:
        return op.Mul(op.Mul(x, _tanh(op, x, cube, three, root)), half)
