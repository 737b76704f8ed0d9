"""What the quantizing stages share: types by name, checks before, the account after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import onnx_ir as ir
from onnxruntime.quantization import QuantType

from onnxbuild.errors import StageError
from onnxbuild.graph import blockwise, rows, stacks
from onnxbuild.graph.architecture import ALL
from onnxbuild.graph.names import check_names
from onnxbuild.graph.weights import weights

LARGE = 1_500_000_000
"""Bytes of weights from which a library is told to write them beside the graph."""

SUFFIXES = (
    "_quantized",
    "_Transposed_quantized",
    rows.SUFFIX,
    stacks.SUFFIX,
    *blockwise.SUFFIXES,
    *(f"_Transposed{suffix}" for suffix in blockwise.SUFFIXES),
)
"""What onnxruntime appends to the name of a weight that it makes integers of. The dynamic quantizer turns a Gemm
into a MatMul first, whose weight is transposed. The others are those of `onnxbuild.graph.rows`, `.stacks` and `.blockwise`."""

KEPT_SUFFIXES = ("", "_Transposed")
"""What it may have appended to the name of a weight that it leaves."""

MARKS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
}
"""Operators by which a quantized model is known, and those whose names begin with ``QLinear``."""

PROCESSOR_LAYOUT = "com.microsoft.nchwc"
"""The domain of operators that onnxruntime's ``all`` level lays out for one class of processor."""

FUSED = "com.microsoft"
"""The domain of what onnxruntime fuses."""

INSIDE = "inside a loop or a branch"

FUSED_SHARE = 0.25
"""Share of the weights from which it is no use to quantize what is left between fused operators."""

NEEDS_OPSET = {"QInt16": 21, "QUInt16": 21, "QInt4": 21, "QUInt4": 21, "QFLOAT8E4M3FN": 19}
"""The opset from which the standard operators can quantize to a type."""


def check_model(
    model: ir.Model, types: Iterable[str], *, least: int = 10, least_half: int | None = None
) -> int:
    """Give the opset. Raises `StageError` where quantization would need, and take, a higher one.

    `least_half` is the opset from which a model in half precision can be quantized; None if never.
    """
    opset = model.opset_imports.get("") or model.opset_imports.get("ai.onnx") or 0
    for name in ("", *types):
        needed = NEEDS_OPSET.get(name, least)
        if opset < needed:
            raise StageError(
                f"quantizing{' to ' + name if name else ''} needs opset {needed}; this model has {opset}",
                hint=f"set export.opset to {needed} or more"
                + (", or use QInt8 or QUInt8" if name else ""),
            )
    nodes = list(model.graph.all_nodes())
    if any(node.domain == PROCESSOR_LAYOUT for node in nodes):
        raise StageError(
            "the model is laid out for this class of processor, and onnxruntime cannot quantize that",
            hint="quantize first, and let the stage with `level: all` start from the result",
        )
    if is_half(model) and (least_half is None or opset < least_half):
        below = "" if least_half is None else f" below opset {least_half}"
        raise StageError(
            f"the model is in half precision, which cannot be quantized like this{below}",
            hint="start from a float32 stage; `float16` can start from a quantized one"
            + (", or `quantize_static` with QDQ from this one" if least_half is None else ""),
        )
    return opset


def is_half(model: ir.Model) -> bool:
    """True for a model that has weights in half precision."""
    return any(value.dtype == ir.DataType.FLOAT16 and _is_weight(value) for value in weights(model))


def check_fresh(model: ir.Model) -> None:
    """Raise `StageError` for a model that is quantized: scales would be put on top of scales."""
    for node in model.graph.all_nodes():
        if node.op_type in MARKS or node.op_type.startswith("QLinear"):
            raise StageError(
                f"the model is quantized already: it has {node.op_type} nodes",
                hint="start from a stage before that (`from:`); to quantize some operators one way and some "
                "another, quantize statically first and dynamically after",
            )


def check_weights_fresh(model: ir.Model) -> None:
    """Raise `StageError` for a model whose weights are blocks of integers already."""
    if any(node.op_type == "MatMulNBits" for node in model.graph.all_nodes()):
        raise StageError(
            "the weights are quantized already: it has MatMulNBits nodes",
            hint="start from a stage before that (`from:`)",
        )


def check_operators(op_types: Collection[str], known_op_types: Collection[str]) -> None:
    """Raise `StageError` for an operator that cannot be quantized, with the nearest that can."""
    check_names(
        op_types,
        {*known_op_types, ALL},
        option="op_types_to_quantize",
        what="quantizable operator",
    )


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


def account(
    before: ir.Model,
    after: ir.Model,
    op_types: Collection[str],
    reasons: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Count the weights that became integers and list those that did not, each with why.

    `reasons` has what is known better, by weight.
    A weight is a float tensor of two or more dimensions: vectors, such as biases and scales, stay
    float. Raises `StageError` where none was quantized.
    """
    made = {value.name: value for value in weights(after)}
    kept: dict[str, str] = {}
    quantized, total, saved, fused = 0, 0, 0, 0
    left: Counter[str] = Counter()
    for value in weights(before):
        if not _is_weight(value) or value.const_value is None:
            continue
        size = value.const_value.nbytes
        total += size
        if any(_is_integer(made.get(f"{value.name}{suffix}")) for suffix in SUFFIXES):
            quantized += 1
            saved += size
        elif _is_quantized_later(made.get(value.name or "")):
            # What `AddQDQPairToWeight` asks for: the file keeps the float weight, and rounds it when it loads.
            quantized += 1
        users = Counter(node.op_type for node, _ in value.uses())
        if any(f"{value.name}{suffix}" in made for suffix in KEPT_SUFFIXES):
            asked = sorted(set(users) & set(op_types))
            is_inside = any(node.graph is not before.graph for node, _ in value.uses())
            kept_by = INSIDE if is_inside else "left by onnxruntime or excluded"
            why = kept_by if asked else "not among the quantized operators"
            why = (reasons or {}).get(value.name or "", why)
            kept[value.name or ""] = f"{', '.join(sorted(users)) or 'unused'}: {why}"
            left.update(users)
            fused += size if all(node.domain == FUSED for node, _ in value.uses()) else 0
    if fused > FUSED_SHARE * total:
        raise StageError(
            f"many weights are those of fused operators, which stay floats: {_first(sorted(left))}",
            hint="quantize first, and fuse after",
        )
    if not quantized and kept and all(INSIDE in why for why in kept.values()):
        raise StageError(
            f"no weight became integer: those of {', '.join(sorted(left))} are {INSIDE}, where onnxruntime leaves them",
            hint="a model that loops is quantized where it multiplies matrices; leave this variant out, or fix the size"
            " over which it loops",
        )
    if not quantized:
        raise StageError(
            "no weight became integer",
            hint="the graph holds no float weights"
            if not total
            else f"the weights are those of {', '.join(sorted(left)) or 'no operator'}; to quantize are "
            f"{_first(sorted(op_types))}. Fused operators: quantize first, fuse after",
        )
    return {
        "quantized_weights": quantized,
        "float_weights": kept,
        "quantized_share": round(saved / total, 4) if total else 0.0,
    }


def hint_for(model: ir.Model) -> str:
    """Say what to do about a model that a quantizer fails on."""
    fused = sorted({n.op_type for n in model.graph.all_nodes() if n.domain == FUSED})
    if fused:
        return f"quantize before operators are fused: the model has {_first(fused)}"
    return "try pre_process: true, or leave the operator out with `nodes_to_exclude`"


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


def _first(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _is_integer(value: ir.Value | None) -> bool:
    return (
        value is not None
        and value.const_value is not None
        and value.const_value.dtype not in {ir.DataType.FLOAT, ir.DataType.FLOAT16}
    )


def _is_quantized_later(value: ir.Value | None) -> bool:
    return value is not None and any(node.op_type == "QuantizeLinear" for node, _ in value.uses())


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    return (
        tensor is not None
        and tensor.dtype in {ir.DataType.FLOAT, ir.DataType.FLOAT16}
        and len(tensor.shape) > 1
        and tensor.size > 1
    )
