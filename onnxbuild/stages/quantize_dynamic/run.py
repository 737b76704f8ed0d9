"""Quantize the weights of a model with onnxruntime."""

from __future__ import annotations

import os

from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.registry import IntegerOpsRegistry

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import quantization, sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import read, scratch_copy
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.quantize_dynamic.spec import EXTRA_OPTIONS, QuantizeDynamic

LIBRARY = "onnxruntime's quantize_dynamic"


def quantize(work: Work) -> dict[str, Artifact]:
    """Quantize; says in the notes which weights became integers and which did not."""
    options = build(QuantizeDynamic, work.options)
    before = read(work.input("model"))
    quantization.check_model(before, [options.weight_type])
    quantization.check_nodes(
        before,
        op_types=options.op_types_to_quantize,
        known_op_types=IntegerOpsRegistry,
        nodes_to_quantize=options.nodes_to_quantize,
        nodes_to_exclude=options.nodes_to_exclude,
    )
    op_types = sorted(options.op_types_to_quantize or IntegerOpsRegistry)
    target = os.path.join(work.folder, "quantized.onnx")
    with scratch_copy(work) as path:
        try:
            quantize_dynamic(
                path,
                target,
                op_types_to_quantize=op_types,
                per_channel=options.per_channel,
                reduce_range=options.reduce_range,
                weight_type=quantization.quant_type(options.weight_type),
                nodes_to_quantize=list(options.nodes_to_quantize),
                nodes_to_exclude=list(options.nodes_to_exclude),
                use_external_data_format=quantization.weight_bytes(before) > quantization.LARGE,
                extra_options=quantization.read_extra(options.extra_options, EXTRA_OPTIONS),
            )
        except StageError:
            raise
        except Exception as error:
            raise StageError(
                f"{LIBRARY} fails on this model: {sessions.readable(error)}",
                hint=quantization.hint_for(before),
            ) from error
    after = read(target)
    reuse(before, after)
    work.notes.update(quantization.account(before, after, op_types))
    hint = "leave out the operator that it names: `op_types_to_quantize: [MatMul]`"
    return {"model": finish(work, before, after, library=LIBRARY, hint=hint)}
