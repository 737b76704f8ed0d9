"""What the quantizing stages share: types by name, checks before, the account after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import onnx_ir as ir
from onnxruntime.quantization import QuantType

from onnxbuild.errors import StageError
from onnxbuild.graph.names import check_names
from onnxbuild.graph.weights import weights

LARGE = 1_500_000_000
"""Bytes of weights from which a library is told to write them beside the graph."""

NEEDS_OPSET = {"QInt16": 21, "QUInt16": 21, "QInt4": 21, "QUInt4": 21, "QFLOAT8E4M3FN": 19}
"""The opset from which the standard operators can quantize to a type."""


def check_model(model: ir.Model, types: Iterable[str], *, least: int = 10) -> int:
    """Give the opset. Raises `StageError` where quantization would need, and take, a higher one."""
    opset = model.opset_imports.get("") or model.opset_imports.get("ai.onnx") or 0
    for name in ("", *types):
        needed = NEEDS_OPSET.get(name, least)
        if opset < needed:
            raise StageError(
                f"quantizing{' to ' + name if name else ''} needs opset {needed}; this model has {opset}",
                hint=f"set export.opset to {needed} or more"
                + (", or use QInt8 or QUInt8" if name else ""),
            )
    return opset


def check_nodes(
    model: ir.Model,
    *,
    op_types: Collection[str],
    known_op_types: Collection[str],
    nodes_to_quantize: Collection[str],
    nodes_to_exclude: Collection[str],
) -> None:
    """Raise `StageError` for an operator or node that there is none of, with the nearest that is."""
    check_names(
        op_types, known_op_types, option="op_types_to_quantize", what="quantizable operator"
    )
    names = {node.name for node in model.graph.all_nodes() if node.name}
    check_names(nodes_to_quantize, names, option="nodes_to_quantize", what="node")
    check_names(nodes_to_exclude, names, option="nodes_to_exclude", what="node")


def read_extra(extra: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Check the names of `extra_options`, which the library takes as they come, and read types by name."""
    check_names(extra, known, option="extra_options", what="option")
    read = dict(extra)
    if "TensorQuantOverrides" in read:
        read["TensorQuantOverrides"] = {
            tensor: [_read_override(override) for override in overrides]
            for tensor, overrides in read["TensorQuantOverrides"].items()
        }
    return read


def account(before: ir.Model, after: ir.Model, op_types: Collection[str]) -> dict[str, Any]:
    """Count the weights that became integers and list those that did not, each with why.

    A weight is a float tensor of two or more dimensions: vectors, such as biases and scales, stay
    float. Raises `StageError` where none was quantized.
    """
    floats = {value.name for value in weights(after) if _is_weight(value)}
    kept: dict[str, str] = {}
    quantized, total, saved = 0, 0, 0
    for value in weights(before):
        if not _is_weight(value) or value.const_value is None:
            continue
        size = value.const_value.nbytes
        total += size
        if value.name not in floats:
            quantized += 1
            saved += size
            continue
        users = Counter(node.op_type for node, _ in value.uses())
        asked = sorted(set(users) & set(op_types))
        why = "left by onnxruntime or excluded" if asked else "not among the quantized operators"
        kept[value.name or ""] = f"{', '.join(sorted(users)) or 'unused'}: {why}"
    if not quantized:
        raise StageError(
            "no weight became integer",
            hint=f"of the operators to quantize ({', '.join(sorted(op_types))}) none has a constant weight here;"
            " see op_types_to_quantize, nodes_to_exclude",
        )
    return {
        "quantized_weights": quantized,
        "float_weights": kept,
        "quantized_share": round(saved / total, 4) if total else 0.0,
    }


def quant_type(name: str) -> QuantType:
    """Give onnxruntime's type of that name."""
    return QuantType[name]


def weight_bytes(model: ir.Model) -> int:
    """Give the bytes of all weights."""
    return sum(
        value.const_value.nbytes for value in weights(model) if value.const_value is not None
    )


def _read_override(override: Mapping[str, Any]) -> dict[str, Any]:
    read = dict(override)
    if "quant_type" in read:
        read["quant_type"] = quant_type(read["quant_type"])
    if "convert" in read:
        read["convert"] = _read_override(read["convert"])
    return read


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    return (
        tensor is not None
        and tensor.dtype in {ir.DataType.FLOAT, ir.DataType.FLOAT16}
        and len(tensor.shape) > 1
        and tensor.size > 1
    )
