"""Convert a model to half precision with onnxconverter_common, and mend what that breaks.

The library sees the graph without its large weights, which are converted one at a time as they go
into the store. Mended: ``Cast`` nodes, which made most transformers unloadable; names that it takes
for unique; weights that blocked and converted nodes share; constants that it cuts in silence;
`keep_io_types` as a list.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import onnx
import onnx_ir as ir
from onnxconverter_common import float16
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import from_proto, inline_functions, proto_graphs, read, store_root
from onnxbuild.graph.names import check_names
from onnxbuild.graph.weights import blob_digest, weights
from onnxbuild.stages.float16.blocks import (
    Blocks,
    find_blocks,
    lift_large,
    quantizes,
    separate_shared,
)
from onnxbuild.stages.float16.half import halve
from onnxbuild.stages.float16.interface import keep_types, kept_names
from onnxbuild.stages.float16.spec import Float16

LIBRARY = "onnxconverter_common.float16"


def convert(work: Work) -> dict[str, Artifact]:
    """Convert; the result loads in onnxruntime, and every weight that could is half precision."""
    options = build(Float16, work.options)
    before = read(work.input("model"))
    kept = kept_names(before, options.keep_io_types)
    check_names(
        options.node_block_list,
        {node.name for node in before.graph if node.name},
        option="node_block_list",
        what="node",
    )
    check_names(
        options.op_block_list,
        {node.op_type for node in before.graph.all_nodes()} | known_operators(),
        option="op_block_list",
        what="operator",
    )
    artifact, crash = _attempt(work, options, before, kept)
    if crash and "Transpose" not in options.op_block_list:
        # onnxruntime 1.32 joins transposes of half precision with the products behind them, and crashes
        # at some of them: layers of LSTM, attention after fusion. In float32 it does not.
        print(f"onnxruntime crashes on it ({crash}): again with Transpose in float32")  # noqa: T201
        work.notes["transpose_float32"] = f"onnxruntime crashes ({crash}) on it in half precision"
        options = replace(options, op_block_list=(*options.op_block_list, "Transpose"))
        artifact, crash = _attempt(work, options, before, kept)
    if crash:
        raise StageError(
            f"onnxruntime crashes ({crash}) when it loads what {LIBRARY} made",
            hint="block operators with `op_block_list`, or convert before operators are fused",
        )
    return {"model": artifact}


def _attempt(
    work: Work, options: Float16, before: ir.Model, kept: frozenset[str]
) -> tuple[Artifact, str]:
    """Convert once; give the model, and the signal by which onnxruntime dies of it, if it does."""
    proto = inline_functions(onnx.load(work.input("model"), load_external_data=False))
    named = from_proto(proto, store_root(work.store))
    name_nodes(named)
    lift_large(named, options.max_finite_val)
    blocks = find_blocks(named, options)
    separate_shared(named, blocks)
    converted = _convert(ir.to_proto(named), options, blocks)
    after = from_proto(converted, store_root(work.store))
    _halve_weights(after, options, store_root(work.store))
    keep_types(after, kept)
    work.notes.update(_judge(after, blocks))
    retyped = {
        value.name or ""
        for value in (*before.graph.inputs, *before.graph.outputs)
        if value.dtype == ir.DataType.FLOAT and value.name not in kept
    }
    artifact = finish(work, before, after, library=LIBRARY, retyped=retyped, load=False)
    hint = "put the operator that it names into `op_block_list`, or the node into `node_block_list`"
    return artifact, sessions.load_apart(work.store.path(artifact), made_by=LIBRARY, hint=hint)


def known_operators() -> set[str]:
    """Name all operators that this onnxruntime knows, of every domain."""
    return {schema.name for schema in get_all_operator_schema()}


def name_nodes(model: ir.Model) -> None:
    """Give every node a name of its own: the library tells nodes and casts apart by that alone."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.all_nodes()):
        name = node.name or f"{node.op_type}_{index}"
        while name in taken:
            name = f"{name}_{index}"
        node.name = name
        taken.add(name)


def _convert(proto: onnx.ModelProto, options: Float16, blocks: Blocks) -> onnx.ModelProto:
    for graph in proto_graphs(proto.graph):
        _forget_types_of_weights(graph)
    try:
        with warnings.catch_warnings():
            # It warns of each constant that it cuts; those that matter are blocked, and all are noted.
            warnings.filterwarnings("ignore", message="the float32 number .* will be truncated")
            return float16.convert_float_to_float16(
                proto,
                min_positive_val=options.min_positive_val,
                max_finite_val=options.max_finite_val,
                keep_io_types=False,
                disable_shape_infer=options.disable_shape_infer,
                op_block_list=sorted(blocks.operators),
                node_block_list=sorted(blocks.nodes),
                check_fp16_ready=options.check_fp16_ready,
            )
    except ValueError as error:
        if "already converted" in str(error):
            raise StageError(
                "the model is in half precision already",
                hint="start from another stage (`from:`), or set check_fp16_ready: false",
            ) from error
        raise _failed(error) from error
    except Exception as error:
        raise _failed(error) from error


def _forget_types_of_weights(graph: onnx.GraphProto) -> None:
    """Drop what onnx_ir says twice: the library takes a weight with a value_info for an activation."""
    names = {tensor.name for tensor in graph.initializer}
    kept = [info for info in graph.value_info if info.name not in names]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _failed(error: Exception) -> StageError:
    return StageError(
        f"{LIBRARY} fails on this model: {sessions.readable(error)}",
        hint="try disable_shape_infer: true, or block the operator that it names with `op_block_list`",
    )


def _halve_weights(model: ir.Model, options: Float16, root: str) -> None:
    """Convert the blobs whose type the library changed: each is read when it is put into the store."""
    for value in weights(model):
        tensor = value.const_value
        if not isinstance(tensor, ir.ExternalTensor) or tensor.dtype != ir.DataType.FLOAT16:
            continue
        if tensor.length == tensor.nbytes or blob_digest(tensor) is None:
            continue
        value.const_value = halve(tensor, options.min_positive_val, options.max_finite_val, root)


def _judge(model: ir.Model, blocks: Blocks) -> dict[str, object]:
    """Count what became half precision and list what did not. Raises `StageError` where that is all."""
    halved, kept = 0, {}
    for value in weights(model):
        tensor = value.const_value
        if tensor is None:
            continue
        if tensor.dtype == ir.DataType.FLOAT16:
            halved += 1
        elif tensor.dtype == ir.DataType.FLOAT:
            users = sorted({node.name or "" for node, _ in value.uses()})
            kept[value.name or ""] = users
            free = [
                name
                for name, node in ((node.name or "", node) for node, _ in value.uses())
                if name not in blocks.nodes and node.op_type not in blocks.operators
            ]
            if free:
                raise StageError(
                    f"the weight {value.name!r} stayed float32, though {free[0]!r} needs it in half precision",
                    hint=f"put {free[0]!r} into `node_block_list`",
                )
    if not halved:
        raise StageError(
            "no weight became half precision",
            hint="what is left in float32 are the scales of a quantized model: publish that one as it is"
            if any(quantizes(node) for node in model.graph.all_nodes())
            else "has the model float32 weights, and are their operators not all blocked?",
        )
    notes: dict[str, object] = {"float16_weights": halved, "float32_weights": kept}
    if blocks.reasons:
        notes["kept_float32"] = dict(sorted(blocks.reasons.items()))
    if blocks.cut:
        notes["cut_to_limit"] = sorted(blocks.cut)
    return notes
