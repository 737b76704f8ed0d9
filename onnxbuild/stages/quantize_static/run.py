"""Quantize a model from the ranges of its activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, load_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import quantization, sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import from_proto, read, scratch_copy, store_root
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.quantize_static.ranges import from_plain
from onnxbuild.stages.quantize_static.spec import QUANTIZER_OPTIONS, QuantizeOptions

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
        least_half=quantization.HALF_QDQ if options.quant_format == "QDQ" else None,
    )
    _check_types(options)
    per_channel = _per_channel(options, opset)
    known = sorted(
        {*QLinearOpsRegistry, *QDQRegistry} if options.quant_format == "QDQ" else QLinearOpsRegistry
    )
    quantization.check_nodes(
        before,
        op_types=options.op_types_to_quantize,
        known_op_types=known,
        nodes_to_quantize=options.nodes_to_quantize,
        nodes_to_exclude=options.nodes_to_exclude,
    )
    op_types = sorted(options.op_types_to_quantize) or known
    with scratch_copy(work) as path:
        model = load_model_with_shape_infer(Path(path))
    quantized = _quantize(
        model, options, per_channel, op_types, work.json("ranges"), quantization.hint_for(before)
    )
    after = from_proto(quantized, store_root(work.store))
    reuse(before, after)
    work.notes["per_channel"] = per_channel
    work.notes.update(quantization.account(before, after, op_types))
    hint = "leave out the operator that it names: `op_types_to_quantize`, `nodes_to_exclude`"
    return {"model": finish(work, before, after, library=LIBRARY, hint=hint)}


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
                options.reduce_range,
                QuantizationMode.QLinearOps,
                True,
                *arguments,
            )
        else:
            quantizer = QDQQuantizer(model, per_channel, options.reduce_range, *arguments)
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
    wide = {"QInt16", "QUInt16"} & {weight, activation}
    if wide and options.quant_format != "QDQ":
        raise StageError(f"{wide.pop()} needs quant_format QDQ", hint="set quant_format: QDQ")
