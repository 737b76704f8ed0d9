"""Quantize a model from the ranges of its activations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, load_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.machine import saturates
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import quantization, sessions
from onnxbuild.graph.architecture import (
    LOOKED_UP,
    PRODUCTS_ONLY,
    Kind,
    chosen,
    find_kind,
    static_operators,
)
from onnxbuild.graph.finish import finish
from onnxbuild.graph.leaving import find_left, find_scoring
from onnxbuild.graph.load import from_proto, read, scratch_copy, store_root
from onnxbuild.graph.places import with_places
from onnxbuild.graph.rows import looks_up_rows, quantize_rows
from onnxbuild.graph.select import select_names
from onnxbuild.graph.stacks import scale_stacks
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.quantize_static.ranges import from_plain
from onnxbuild.stages.quantize_static.spec import HALF_OPSET, QUANTIZER_OPTIONS, QuantizeOptions

LIBRARY = "onnxruntime's quantize_static"

PER_CHANNEL_QDQ = 13
"""The opset from which DequantizeLinear has an axis."""


def quantize(work: Work) -> dict[str, Artifact]:
    """Quantize; says in the notes which weights became integers and which did not."""
    options = build(QuantizeOptions, work.options)
    before = read(work.input("model"))
    # onnxruntime's own operators take every type at any opset.
    own = bool(options.extra_options.get("UseQDQContribOps")) and options.quant_format == "QDQ"
    opset = quantization.check_model(
        before,
        [] if own else [options.weight_type, options.activation_type],
        least_half=HALF_OPSET if options.quant_format == "QDQ" else None,
    )
    _check_types(options)
    per_channel = _per_channel(options, opset)
    known = sorted(
        {*QLinearOpsRegistry, *QDQRegistry} if options.quant_format == "QDQ" else QLinearOpsRegistry
    )
    quantization.check_operators(options.op_types_to_quantize, known)
    options = _select(options, before)
    kind = find_kind(before)
    op_types = chosen(options.op_types_to_quantize, static_operators(kind, known), known)
    # What the library would give one scale, and what has no weights, is none of its work.
    by_row = per_channel and LOOKED_UP in op_types
    named = options.nodes_to_quantize
    left = (
        find_scoring(before, named)
        if options.op_types_to_quantize
        else find_left(before, kind, op_types, static=True, named=named)
    )
    options, left_float = _settle(options, before, kind, by_row, left.names)
    with scratch_copy(work) as path:
        model = load_model_with_shape_infer(Path(path))
    quantized = _quantize(
        model, options, per_channel, op_types, work.json("ranges"), quantization.hint_for(before)
    )
    after = from_proto(quantized, store_root(work.store))
    if per_channel and options.quant_format == "QOperator":
        symmetric = options.extra_options.get("WeightSymmetric")
        scale_stacks(before, after, reduce_range=bool(options.reduce_range), symmetric=symmetric)
    reasons = {name: why for name, why in left.weights.items() if why}
    if by_row:
        reasons |= quantize_rows(
            after,
            op_types=op_types,
            only=options.nodes_to_quantize,
            excluded=set(options.nodes_to_exclude) - left_float,
        )
    reuse(before, after)
    work.notes["architecture"] = kind
    work.notes["op_types_to_quantize"] = op_types
    work.notes["per_channel"] = per_channel
    work.notes["reduce_range"] = options.reduce_range
    work.notes.update(quantization.account(before, after, op_types, reasons))
    hint = "leave out the operator that it names: `op_types_to_quantize`, `nodes_to_exclude`"
    return {"model": finish(work, before, after, library=LIBRARY, hint=hint)}


def _select(options: QuantizeOptions, model: ir.Model) -> QuantizeOptions:
    """Name the nodes that are chosen by globs and modules."""
    wanted, excluded = (
        tuple(select_names(model, getattr(options, option), option=option))
        for option in ("nodes_to_quantize", "nodes_to_exclude")
    )
    return replace(options, nodes_to_quantize=wanted, nodes_to_exclude=excluded)


def _settle(
    options: QuantizeOptions, model: ir.Model, kind: Kind, by_row: bool, left: Collection[str]
) -> tuple[QuantizeOptions, set[str]]:
    """Fill in what the recipe leaves open; gives too the nodes that are looked up by row instead."""
    excluded = {*options.nodes_to_exclude, *left}
    extra = dict(options.extra_options)
    tables: set[str] = set()
    if by_row:
        tables = {node.name or "" for node in model.graph if looks_up_rows(node)} - excluded
    if not options.op_types_to_quantize:
        excluded |= with_places(model)
    if kind == "transformer" and not options.op_types_to_quantize:
        # A product that is not rounded again costs no time: the sums are scaled in any case. A convolution would
        # be computed in floats, with weights that are made floats in each run.
        extra.setdefault("OpTypesToExcludeOutputQuantization", list(PRODUCTS_ONLY))
    settled = replace(
        options,
        reduce_range=saturates() if options.reduce_range is None else options.reduce_range,
        nodes_to_exclude=tuple(sorted(excluded | tables)),
        extra_options=extra,
    )
    return settled, tables


def _quantize(
    model: onnx.ModelProto,
    options: QuantizeOptions,
    per_channel: bool,
    op_types: list[str],
    ranges: Any,
    hint: str,
) -> onnx.ModelProto:
    """Do what `onnxruntime.quantization.quantize_static` does once it has the ranges."""
    extra = quantization.read_extra(options.extra_options, QUANTIZER_OPTIONS)
    arguments = (
        quantization.quant_type(options.weight_type),
        quantization.quant_type(options.activation_type),
        from_plain(ranges),
        list(options.nodes_to_quantize),
        list(options.nodes_to_exclude),
        op_types,
        extra,
    )
    try:
        if options.quant_format == "QOperator":
            quantizer = ONNXQuantizer(
                model,
                per_channel,
                bool(options.reduce_range),
                QuantizationMode.QLinearOps,
                True,
                *arguments,
            )
        else:
            quantizer = QDQQuantizer(model, per_channel, bool(options.reduce_range), *arguments)
        quantizer.quantize_model()
    except Exception as error:
        raise StageError(
            f"{LIBRARY} fails on this model: {sessions.readable(error)}",
            hint=hint,
        ) from error
    return quantizer.model.model


def _per_channel(options: QuantizeOptions, opset: int) -> bool:
    possible = options.quant_format == "QOperator" or opset >= PER_CHANNEL_QDQ
    if options.per_channel is None:
        return possible
    if options.per_channel and not possible:
        raise StageError(
            f"per_channel with quant_format QDQ needs opset {PER_CHANNEL_QDQ}; this model has {opset}",
            hint=f"set per_channel: false, quant_format: QOperator, or export.opset: {PER_CHANNEL_QDQ}",
        )
    return options.per_channel


def _check_types(options: QuantizeOptions) -> None:
    """Refuse the combinations of types that onnxruntime has no kernels for."""
    weight, activation = options.weight_type, options.activation_type
    if activation == "QInt8" and weight == "QUInt8":
        raise StageError(
            "activation_type QInt8 does not go with weight_type QUInt8",
            hint="use QInt8 weights, or QUInt8 activations",
        )
    if (activation == "QFLOAT8E4M3FN") != (weight == "QFLOAT8E4M3FN"):
        raise StageError(
            "float 8 must be the type of weights and activations alike",
            hint="set both activation_type and weight_type to QFLOAT8E4M3FN",
        )
    if options.extra_options.get("DedicatedQDQPair") and options.quant_format != "QDQ":
        raise StageError(
            "pairs of QuantizeLinear and DequantizeLinear, as TensorRT reads them, are quant_format QDQ",
            hint="set quant_format: QDQ, or leave out `runtime: tensorrt` (or DedicatedQDQPair)",
        )
    wide = {"QInt16", "QUInt16"} & {weight, activation}
    if wide and options.quant_format != "QDQ":
        raise StageError(f"{wide.pop()} needs quant_format QDQ", hint="set quant_format: QDQ")
