"""Inputs and outputs that stay float32, with one cast each."""

from __future__ import annotations

import onnx_ir as ir

from onnxbuild.graph.names import check_names
from onnxbuild.graph.summary import own_inputs


def kept_names(model: ir.Model, keep_io_types: bool | tuple[str, ...]) -> frozenset[str]:
    """Name the inputs and outputs that stay float32. Raises `StageError` for a name that is neither."""
    values = [*own_inputs(model), *model.graph.outputs]
    if not isinstance(keep_io_types, bool):
        known = [value.name or "" for value in values]
        check_names(keep_io_types, known, option="keep_io_types", what="input or output")
    return frozenset(
        value.name or ""
        for value in values
        if value.dtype == ir.DataType.FLOAT
        and (keep_io_types is True or _is_in(value, keep_io_types))
    )


def _is_in(value: ir.Value, names: bool | tuple[str, ...]) -> bool:
    return not isinstance(names, bool) and value.name in names


def keep_types(after: ir.Model, kept: frozenset[str]) -> None:
    """Make the inputs and outputs in `kept` float32 again."""
    for index, value in enumerate(after.graph.inputs):
        if value.name in kept and value.dtype == ir.DataType.FLOAT16:
            after.graph.inputs[index] = _cast_input(after.graph, value)
    for index, value in enumerate(after.graph.outputs):
        if value.name in kept and value.dtype == ir.DataType.FLOAT16:
            after.graph.outputs[index] = _cast_output(after.graph, value)


def _cast_input(graph: ir.Graph, value: ir.Value) -> ir.Value:
    name = value.name or ""
    new = ir.Value(name=name, shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT))
    cast = _cast(new, ir.DataType.FLOAT16, f"{name}_to_float16")
    half = cast.outputs[0]
    value.name = half.name = f"{name}_float16"
    half.shape = value.shape
    for user, position in list(value.uses()):
        if user.op_type == "Cast" and user.attributes["to"].as_int() == ir.DataType.FLOAT:
            # Back to float32 at once, for a node that stays so: take the input itself.
            user.outputs[0].replace_all_uses_with(new)
            if user.graph is not None:
                user.graph.remove(user, safe=True)
        else:
            user.replace_input_with(position, half)
    if graph:
        graph.insert_before(graph[0], cast)
    return new


def _cast_output(graph: ir.Graph, value: ir.Value) -> ir.Value:
    name = value.name or ""
    value.name = f"{name}_float16"
    cast = _cast(value, ir.DataType.FLOAT, f"{name}_to_float32")
    new = cast.outputs[0]
    new.name = name
    new.shape = value.shape
    graph.append(cast)
    return new


def _cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", to.value)], name=name)
    node.outputs[0].type = ir.TensorType(to)
    return node
