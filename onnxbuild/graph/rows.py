"""Tables that are looked up by row, as 8-bit integers with a scale for each row.

onnxruntime's quantizers have one scale for a whole table, which costs the rare words most. In standard
operators: the integers and the scales are looked up, and multiplied.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from onnxbuild.graph.load import model_graphs
from onnxbuild.graph.weights import release, settle

SUFFIX = "_rows_quantized"
"""What is appended to the name of a table that became integers."""

LEAST = 4096
"""Elements below which a table is not worth two more nodes."""

LEVELS = 127
FLOATS = {ir.DataType.FLOAT: np.float32, ir.DataType.FLOAT16: np.float16}
"""Types of tables that become integers, and of their scales."""


def quantize_rows(
    model: ir.Model,
    *,
    op_types: Collection[str],
    only: Collection[str] = (),
    excluded: Collection[str] = (),
) -> dict[str, str]:
    """Quantize tables in place; give for each that stays as it is the reason.

    `op_types` are the operators that are quantized, `only` and `excluded` names of nodes: all are meant where
    `only` is empty. A table that something else keeps in float would be stored twice, and stays.
    """
    settle(model)
    made: dict[str, tuple[ir.Value, ir.Value]] = {}
    left: dict[str, str] = {}
    for graph in model_graphs(model):
        for node in [node for node in graph if looks_up_rows(node)]:
            table = node.inputs[0]
            owner = table.graph if table is not None else None
            if table is None or not isinstance(owner, ir.Graph):
                continue
            name = table.name or ""
            reason = _why_not(table, op_types)
            if node.name in excluded or (only and node.name not in only):
                reason = "excluded"
            if reason:
                left[name] = reason
                continue
            if name not in made:
                made[name] = _make_rows(table, name, owner)
            _look_up(graph, node, *made[name])
            if not table.uses() and not table.is_graph_output():
                owner.initializers.pop(name)
    return left


def looks_up_rows(node: ir.Node) -> bool:
    """True for a node that looks up rows of a constant table of float numbers."""
    if node.op_type != "Gather" or node.domain or node.attributes.get_int("axis", 0) != 0:
        return False
    table = node.inputs[0]
    tensor = table.const_value if table is not None and table.is_initializer() else None
    is_table = tensor is not None and len(tensor.shape) == 2  # noqa: PLR2004 - rows and columns
    return is_table and tensor is not None and tensor.dtype in FLOATS


def _why_not(table: ir.Value, op_types: Collection[str]) -> str:
    if table.const_value is not None and table.const_value.size < LEAST:
        return "a small table"
    others = {user.op_type for user, _ in table.uses() if not looks_up_rows(user)} - set(op_types)
    return f"shared with {', '.join(sorted(others))}, which keeps it" if others else ""


def _make_rows(table: ir.Value, name: str, owner: ir.Graph) -> tuple[ir.Value, ir.Value]:
    tensor = table.const_value
    assert tensor is not None  # noqa: S101 - it is an initializer
    array, dtype = tensor.numpy(), FLOATS[tensor.dtype]
    scales = np.abs(array).max(axis=1, keepdims=True).astype(np.float32) / np.float32(LEVELS)
    scales = scales.astype(dtype).astype(np.float32)
    scales[scales == 0] = 1
    rows = np.clip(np.rint(array / scales), -LEVELS, LEVELS).astype(np.int8)
    del array
    release(tensor)
    values = (
        _constant(name + SUFFIX, rows),
        _constant(f"{name}{SUFFIX}_scale", scales.astype(dtype)),
    )
    for value in values:
        owner.register_initializer(value)
    return values


def _look_up(graph: ir.Graph, node: ir.Node, rows: ir.Value, scales: ir.Value) -> None:
    """Put the four nodes in place of the one, whose output stays the same value."""
    result, indices = node.outputs[0], node.inputs[1]
    stem = result.name or node.name or ""
    dtype = scales.dtype or ir.DataType.FLOAT

    def make(op_type: str, inputs: list[ir.Value | None], name: str, **attributes: int) -> ir.Node:
        made = ir.node(op_type, inputs, attributes=attributes, name=f"{node.name}/{name}")
        made.outputs[0].name = f"{stem}_{name}"
        made.metadata_props.update(node.metadata_props)
        return made

    integers = make("Gather", [rows, indices], "rows", axis=0)
    scale = make("Gather", [scales, indices], "row_scales", axis=0)
    floats = make("Cast", [integers.outputs[0]], "row_floats", to=int(dtype))
    product = make("Mul", [floats.outputs[0], scale.outputs[0]], "scaled")
    floats.outputs[0].dtype = scale.outputs[0].dtype = dtype
    floats.outputs[0].shape = result.shape
    graph.insert_before(node, [integers, scale, floats, product])
    name, shape = result.name, result.shape
    is_output = [index for index, value in enumerate(graph.outputs) if value is result]
    new = product.outputs[0]
    for user, index in list(result.uses()):
        user.replace_input_with(index, new)
    for index in is_output:
        graph.outputs[index] = new
    graph.remove(node, safe=True)
    result.name = f"{name}_float"
    new.name, new.shape, new.type = name, shape, ir.TensorType(dtype)


def _constant(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.Tensor(array, name=name)
    return ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
