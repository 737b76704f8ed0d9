"""Tensors and numbers, where the number may be a value of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {
        "aten::add.Scalar": add,
        "aten::mul.Scalar": multiply,
        "aten::pow.Tensor_Scalar": power,
        "aten::remainder.Scalar": remainder,
        "aten::sub.Scalar": subtract,
    }


def add(op: Builder, x: ir.Value, other: Any, alpha: Any = 1) -> ir.Value:
    """Add `alpha` times a number."""
    return op.Add(x, _times(op, _number(op, other, x), alpha))


def subtract(op: Builder, x: ir.Value, other: Any, alpha: Any = 1) -> ir.Value:
    """Subtract `alpha` times a number."""
    return op.Sub(x, _times(op, _number(op, other, x), alpha))


def multiply(op: Builder, x: ir.Value, other: Any) -> ir.Value:
    """Multiply by a number."""
    return op.Mul(x, _number(op, other, x))


def power(op: Builder, x: ir.Value, exponent: Any) -> ir.Value:
    """Raise to a power."""
    return op.Pow(x, _number(op, exponent, x))


def remainder(op: Builder, x: ir.Value, other: Any) -> ir.Value:
    """Give what is left of a division, with the sign of the divisor."""
    divisor = _number(op, other, x)
    if x.dtype is not None and not x.dtype.is_floating_point():
        return op.Mod(x, divisor)
    return op.Sub(x, op.Mul(divisor, op.Floor(op.Div(x, divisor))))


def _number(op: Builder, value: Any, other: ir.Value) -> ir.Value:
    if not isinstance(value, ir.Value):
        return op.like(value, other)
    return op.CastLike(value, other) if other.dtype is None else op.cast(value, other.dtype)


def _times(op: Builder, value: ir.Value, alpha: Any) -> ir.Value:
    return value if alpha == 1 else op.Mul(value, _number(op, alpha, value))
