"""A model in half precision as one in float32 that rounds as it does: what an accelerator would compute.

onnxruntime's CPU provider computes half nodes in float32 and drops the casts between them, and does not compute
in bfloat16 at all. Here each result is cast to half and back, which it keeps: overflow and lost digits show.
Sums inside a node are in float32, as accelerators accumulate them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from onnxbuild.graph.load import from_proto, inline_functions, model_graphs, model_nodes
from onnxbuild.graph.ports import RESULT_TYPES, find_ports, infer_types
from onnxbuild.graph.weights import weights

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

FLOAT = ir.DataType.FLOAT

EXACT = {
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Max", "Min",
    "Neg", "Pad", "Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze", "Where", "Abs", "MaxPool", "ReduceMax", "ReduceMin",
}  # fmt: skip
"""Operators that give numbers which they were given: there is nothing to round."""


def typed(path: str, folder: str) -> ir.Model:
    """Read a graph with its functions inlined and the type of every value known, its weights left on disk."""
    return typed_proto(onnx.load(path, load_external_data=False), folder)


def typed_proto(proto: onnx.ModelProto, folder: str) -> ir.Model:
    """Wrap a protobuf model likewise, whose weights lie below `folder`."""
    proto = inline_functions(proto)
    inferred = onnx.shape_inference.infer_shapes(proto)
    model = from_proto(inferred, folder)
    infer_types(model)
    return model


def half_type(model: ir.Model) -> ir.DataType | None:
    """Give the half precision that a model computes in: its weights or inputs are, or it casts to it."""
    for value in [*weights(model), *model.graph.inputs]:
        if value.dtype in HALVES:
            return value.dtype
    for node in model_nodes(model):
        attribute = node.attributes.get("to")
        if attribute is not None and not attribute.is_ref() and attribute.value in HALVES:
            return ir.DataType(attribute.value)
    return None


def needs_emulation(proto: onnx.ModelProto) -> bool:
    """Tell whether onnxruntime's CPU provider does not run a model, since it computes in bfloat16."""
    kind = onnx.TensorProto.BFLOAT16
    return any(tensor.data_type == kind for tensor in proto.graph.initializer) or any(
        value.type.tensor_type.elem_type == kind
        for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    )


def runnable(path: str) -> onnx.ModelProto:
    """Read the model at `path` without its weights: as it is, or in float32 where it would not run else."""
    proto = onnx.load(path, load_external_data=False)
    if not needs_emulation(proto):
        return proto
    return emulate(path, os.path.dirname(os.path.abspath(path)))


def emulate(path: str, folder: str) -> onnx.ModelProto:
    """Give the float32 model for the half model at `path`, whose weights lie below `folder`.

    Its inputs and outputs are float32. Its weights are those of the half model, where they lie.
    """
    model = typed(path, folder)
    halves = {
        value: value.dtype
        for value in _values(model)
        if isinstance(value.type, ir.TensorType) and value.dtype in HALVES
    }
    for value in _values(model):
        _widen_sequence(value)
    needing = {node for node in model.graph.all_nodes() if _needs_half(node, model)}
    for graph in model_graphs(model):
        for value in list(graph.initializers.values()):
            if value in halves:
                _widen_weight(graph, value)
        for node in list(graph):
            _widen(graph, node, halves, node in needing)
        for value in graph.inputs:
            if value in halves and value.const_value is None:
                value.dtype = FLOAT
                if graph is model.graph:
                    _round(graph, value, halves[value], None)
    return ir.to_proto(model)


def _widen_sequence(value: ir.Value) -> None:
    kind = value.type
    if isinstance(kind, ir.SequenceType | ir.OptionalType) and kind.dtype in HALVES:
        inner = ir.TensorType(FLOAT)
        if not isinstance(kind.elem_type, ir.TensorType):
            value.type = type(kind)(ir.SequenceType(inner))
        else:
            value.type = type(kind)(inner)


def _widen_weight(graph: ir.Graph, value: ir.Value) -> None:
    """Cast a half weight to float32 for its users."""
    name = f"{value.name} as float32"
    cast = _cast(value, FLOAT, name)
    _replace(value, cast.outputs[0], cast)
    if len(graph):
        graph.insert_before(graph[0], cast)
    else:
        graph.append(cast)


def _widen(
    graph: ir.Graph, node: ir.Node, halves: dict[ir.Value, ir.DataType], is_half: bool
) -> None:
    """Have a node compute in float32, and round what it gives."""
    if is_half:
        _surround(graph, node, halves)
    for name in RESULT_TYPES:
        given = node.attributes.get(name)
        if given is not None and not given.is_ref() and given.value in HALVES:
            node.attributes[name] = ir.AttrInt64(name, FLOAT.value)
    for name, given in list(node.attributes.items()):
        if given.is_ref() or given.type != ir.AttributeType.TENSOR:
            continue
        tensor = given.as_tensor()
        if tensor.dtype in HALVES:
            wide = ir.Tensor(tensor.numpy().astype("float32"), dtype=FLOAT, name=tensor.name)
            node.attributes[name] = ir.AttrTensor(name, wide)
    for value in node.outputs:
        if value not in halves or is_half:
            continue
        value.dtype = FLOAT
        if node.op_type not in EXACT:
            _round(graph, value, halves[value], node)


def _round(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, maker: ir.Node | None) -> None:
    """Put a rounding to half behind a value; the model's outputs keep their names."""
    name = value.name or ""
    narrow = _cast(value, dtype, f"{name} as half")
    wide = _cast(narrow.outputs[0], FLOAT, f"{name} rounded")
    outputs = [index for index, one in enumerate(graph.outputs) if one is value]
    _replace(value, wide.outputs[0], narrow)
    for index in outputs:
        graph.outputs[index] = wide.outputs[0]
    if outputs:
        value.name, wide.outputs[0].name = f"{name} as computed", name
    if maker is not None:
        graph.insert_after(maker, [narrow, wide])
    elif len(graph):
        graph.insert_before(graph[0], [narrow, wide])
    else:
        graph.extend([narrow, wide])


def _surround(graph: ir.Graph, node: ir.Node, halves: dict[ir.Value, ir.DataType]) -> None:
    """Leave a node in half precision that has no float32: cast what it takes and gives."""
    for index, value in enumerate(node.inputs):
        known = next(iter(halves.values()))
        if value is not None and (value in halves or (value.name or "").endswith(" rounded")):
            cast = _cast(value, halves.get(value, known), f"{value.name} for {node.name} {index}")
            graph.insert_before(node, cast)
            node.replace_input_with(index, cast.outputs[0])
    for value in node.outputs:
        if value in halves:
            cast = _cast(value, FLOAT, f"{value.name} as float32")
            _replace(value, cast.outputs[0], cast)
            graph.insert_after(node, cast)


def _needs_half(node: ir.Node, model: ir.Model) -> bool:
    """Tell whether a node has a port that takes half precision and no float32."""
    ports = find_ports(node, model.opset_imports)
    if ports is None or node.op_type in {"If", "Loop", "Scan"}:
        return False
    known = [(value, ports.input(index)) for index, value in enumerate(node.inputs)]
    return any(
        port is not None and value is not None and value.dtype in HALVES and not port.takes(FLOAT)
        for value, port in known
    )


def _cast(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype.value)], name=name)
    node.outputs[0].name = name
    node.outputs[0].type = ir.TensorType(dtype)
    node.outputs[0].shape = value.shape
    return node


def _replace(value: ir.Value, new: ir.Value, but: ir.Node) -> None:
    for user, index in list(value.uses()):
        if user is not but:
            user.replace_input_with(index, new)
    for graph in _graphs_around(value):
        for index, one in enumerate(graph.outputs):
            if one is value:
                graph.outputs[index] = new


def _graphs_around(value: ir.Value) -> list[ir.Graph]:
    """Give the graph of a value, where it is an output of it."""
    return [value.graph] if value.is_graph_output() and value.graph is not None else []


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model_graphs(model):
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs
