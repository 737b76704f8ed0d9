"""A model with one node, or a few, quantized: what the others would add to its error is left out.

Weights are rounded and given back as floats, activations go through 8-bit integers and back. That is what the
quantized operators compute, but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from onnxbuild.graph.rows import FLOATS, looks_up_rows
from onnxbuild.graph.weights import release

Ranges = Mapping[str, tuple[float, float]]

PASSING = frozenset(
    {
        "Clip", "Flatten", "Gather", "GatherElements", "LeakyRelu", "MaxPool", "Pad", "Relu", "Reshape", "Slice",
        "Split", "Squeeze", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""Operators that hand integers on as they are: leaving them out keeps no number."""

LEVELS = 127
REDUCED = 63


def candidates(
    model: ir.Model, op_types: Collection[str], *, static: bool, excluded: Collection[str]
) -> list[ir.Node]:
    """List the nodes of the main graph that quantization changes, in order.

    Not tables: with a scale for each row they lose next to nothing, and as floats take most of a small model.
    """
    found = []
    for node in model.graph:
        if node.op_type not in op_types or node.name in excluded or not node.name:
            continue
        if looks_up_rows(node):
            continue
        if _weight_of(node) is not None or (static and node.op_type not in PASSING):
            found.append(node)
    return found


def simulate(
    path: str,
    names: Collection[str],
    model: ir.Model,
    target: str,
    *,
    ranges: Ranges | None,
    reduce_range: bool,
) -> None:
    """Write the graph at `path`, with the nodes of these `names` quantized, to `target` beside it.

    `model` is the same graph, for its weights; `ranges` those of the activations, found at run time if None.
    """
    proto = onnx.load(path, load_external_data=False)
    graph = proto.graph
    by_name = {node.name: node for node in model.graph}
    added: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in names:
            added.append(node)
            continue
        weight = _weight_of(by_name[node.name])
        for index, value in enumerate(node.input):
            if weight is not None and index == weight[0]:
                rounded = _round(by_name[node.name], weight, reduce_range)
                name = f"{value}__{node.name}"
                graph.initializer.append(onnx.numpy_helper.from_array(rounded, name))
                node.input[index] = name
                continue
            source = by_name[node.name].inputs[index]
            if source is None or source.const_value is not None:
                continue
            if source.dtype not in {None, ir.DataType.FLOAT}:
                continue
            stem = f"{value}__{node.name}__{index}"
            made = _through_integers(value, stem, graph, ranges)
            if made:
                added += made
                node.input[index] = made[-1].output[0]
        added.append(node)
    del graph.node[:]
    graph.node.extend(added)
    onnx.save(proto, target)


def _weight_of(node: ir.Node) -> tuple[int, int] | None:
    """Give the position of a node's weight among its inputs, and the axis that has a scale each."""
    axis = {"MatMul": (1, -1), "Conv": (1, 0), "ConvTranspose": (1, 1)}.get(node.op_type)
    if node.op_type == "Gemm":
        axis = (1, 0 if node.attributes.get_int("transB", 0) else 1)
    if axis is None or len(node.inputs) <= axis[0]:
        return None
    value = node.inputs[axis[0]]
    tensor = value.const_value if value is not None else None
    if tensor is None or tensor.dtype not in FLOATS or len(tensor.shape) < 2:  # noqa: PLR2004
        return None
    return axis


def _round(node: ir.Node, weight: tuple[int, int], reduce_range: bool) -> npt.NDArray[Any]:
    index, axis = weight
    value = node.inputs[index]
    assert value is not None  # noqa: S101 - `_weight_of` has looked
    tensor = value.const_value
    assert tensor is not None  # noqa: S101 - `_weight_of` has looked
    array = np.asarray(tensor.numpy(), dtype=np.float32)
    others = tuple(i for i in range(array.ndim) if i != axis % array.ndim)
    if node.op_type == "MatMul":
        # Of a stack each matrix has scales of its own.
        others = (array.ndim - 2,)
    levels = REDUCED if reduce_range else LEVELS
    scales = np.abs(array).max(axis=others, keepdims=True) / levels
    scales[scales == 0] = 1
    rounded: npt.NDArray[Any] = (np.rint(array / scales) * scales).astype(FLOATS[tensor.dtype])
    del array
    release(tensor)
    return rounded


def _through_integers(
    value: str, stem: str, graph: onnx.GraphProto, ranges: Ranges | None
) -> list[onnx.NodeProto]:
    scale, zero, integer, back = (f"{stem}_{part}" for part in ("scale", "zero", "integer", "back"))
    if ranges is None:
        quantize = onnx.helper.make_node("DynamicQuantizeLinear", [value], [integer, scale, zero])
    elif value in ranges:
        low, high = min(0.0, ranges[value][0]), max(0.0, ranges[value][1])
        step = np.float32((high - low) / 255 or 1)
        constants: dict[str, Any] = {
            scale: step,
            zero: np.uint8(np.clip(np.rint(-low / step), 0, 255)),
        }
        for name, constant in constants.items():
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(constant), name))
        quantize = onnx.helper.make_node("QuantizeLinear", [value, scale, zero], [integer])
    else:
        return []
    return [quantize, onnx.helper.make_node("DequantizeLinear", [integer, scale, zero], [back])]
