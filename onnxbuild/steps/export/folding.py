"""Constant folding, finished: what depends on constants alone is computed, whichever exporter left it.

TorchScript folds a few operators only, and dynamo's optimizer no tensor above 8 KiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxbuild.graph.weights import release
from onnxbuild.steps.model.user import describe, say

KEPT = frozenset(
    {
        "Constant", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear",
        "Bernoulli", "Dropout", "Multinomial",
        "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        "If", "Loop", "Scan",
    }
)  # fmt: skip
"""Operators that stay: they give other values each time, stand for quantized weights, or hold graphs."""

GROWTH = 16
"""A constant that folding would make larger than its inputs by this factor stays computed,"""

LARGE = 1 << 20
"""if it has more than so many bytes."""


def fold(model: ir.Model) -> dict[str, Any]:
    """Fold what can be folded, in place. Gives the count, and the nodes that were left with the reason."""
    folded = 0
    left: dict[str, str] = {}
    opsets = dict(model.opset_imports)
    for node in list(model.graph):
        if not is_constant(node):
            continue
        problem = _fold_node(model.graph, node, opsets)
        if problem:
            left[node.name or node.op_type] = problem
            say(f"not folded: {node.op_type} {node.name}: {problem}")
        else:
            folded += 1
    _remove_unused(model.graph)
    return {"folded": folded, "left": left}


def is_constant(node: ir.Node) -> bool:
    """True if a node gives the same values in every run, and could be one."""
    if node.domain not in {"", "ai.onnx"} or node.op_type in KEPT or not node.inputs:
        return False
    return all(value is None or _constant(value) is not None for value in node.inputs)


def _constant(value: ir.Value) -> ir.TensorProtocol | None:
    if value.is_initializer() and not value.is_graph_input():
        return value.const_value
    node = value.producer()
    if node is None or node.op_type != "Constant":
        return None
    attribute = node.attributes.get("value")
    if attribute is not None and not attribute.is_ref():
        return attribute.as_tensor()
    return value.const_value


def _fold_node(graph: ir.Graph, node: ir.Node, opsets: dict[str, int]) -> str:
    """Replace one node by what it gives; the reason why not, if it stays."""
    if any(output.is_graph_output() for output in node.outputs):
        return "it is an output of the model"
    feeds = {}
    for value in node.inputs:
        tensor = None if value is None else _constant(value)
        if value is not None and tensor is not None:
            feeds[value.name or ""] = np.array(tensor.numpy())
            release(tensor)
    try:
        found = _evaluate(node, opsets, feeds)
    except Exception as error:  # noqa: BLE001 - said, and the node stays as it was
        return describe(error)
    size = sum(array.nbytes for array in found)
    if size > LARGE and size > GROWTH * sum(array.nbytes for array in feeds.values()):
        return f"its value would take {size / 1e6:.0f} MB"
    for output, array in zip(node.outputs, found, strict=True):
        tensor = ir.Tensor(array, dtype=ir.DataType.from_numpy(array.dtype), name=output.name)
        constant = ir.Value(
            name=output.name,
            type=ir.TensorType(tensor.dtype),
            shape=tensor.shape,
            const_value=tensor,
        )
        output.replace_all_uses_with(constant)
        output.name = None
        graph.initializers[constant.name or ""] = constant
    graph.remove(node, safe=True)
    return ""


def _evaluate(
    node: ir.Node, opsets: dict[str, int], feeds: dict[str, np.ndarray[Any, Any]]
) -> Sequence[np.ndarray[Any, Any]]:
    proto = ir.to_proto(node)
    proto.doc_string = ""
    del proto.metadata_props[:]
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [
            onnx.helper.make_tensor_value_info(
                name, ir.DataType.from_numpy(array.dtype).value, array.shape
            )
            for name, array in feeds.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(k, v) for k, v in opsets.items()]
    )
    return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]


def _remove_unused(graph: ir.Graph) -> None:
    """Remove constants that nothing uses any more."""
    for node in list(graph):
        idle = not any(value.uses() or value.is_graph_output() for value in node.outputs)
        if node.op_type == "Constant" and idle:
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
