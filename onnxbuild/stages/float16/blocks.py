"""Which nodes stay float32, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnxconverter_common.float16 import DEFAULT_OP_BLOCK_LIST

from onnxbuild.graph.weights import release, weights
from onnxbuild.stages.float16.spec import Float16

INFINITE = 1e30
"""From here on a constant stands for infinity: cutting it changes nothing that it is used for."""


TYPE_ATTRIBUTES = ("dtype", "output_dtype", "output_datatype")
"""Attributes that say the type of a node's result (``RandomNormal``, ``EyeLike`` …)."""


QUANTIZING = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger",
    "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "QGemm",
    "QEmbedLayerNormalization", "QuantizeWithOrder", "DequantizeWithOrder",
)  # fmt: skip
"""Operators that quantize, or compute with integers, and those that begin with ``QLinear``."""

ANY_PRECISION = {"Cast", "Shape", "Size"}
"""Operators that hand on a quantized value, or ask nothing of its precision."""


@dataclass(slots=True)
class Blocks:
    """What stays float32."""

    operators: set[str]
    """By operator."""

    nodes: set[str]
    """By name."""

    reasons: dict[str, str] = field(default_factory=dict)
    """By the name of a node that was not asked for: why."""

    cut: set[str] = field(default_factory=set)
    """Constants that stand for infinity and are cut to the largest half."""


def find_blocks(model: ir.Model, options: Float16) -> Blocks:
    """Find the nodes that stay float32: asked for, known to fail, or using what half cannot hold.

    ``Cast`` is blocked, since the library turns its result to half and leaves its type, so that nothing
    loads; and by the names of nodes, since by operator it would never end casting its own casts.
    """
    casts = {node.name or "" for node in model.graph.all_nodes() if _says_its_type(node)}
    blocks = Blocks(
        operators={*DEFAULT_OP_BLOCK_LIST, *options.op_block_list} - {"Cast"},
        nodes={*options.node_block_list, *casts},
    )
    blocks.operators |= {node.op_type for node in model.graph.all_nodes() if quantizes(node)}
    for node in _beside_quantized(model):
        blocks.nodes.add(node.name or "")
        blocks.reasons[node.name or ""] = "takes or gives what is quantized"
    for name, array, users, maker in _constants(model):
        finite = np.abs(array[np.isfinite(array)])
        large = finite[finite > options.max_finite_val]
        if not large.size:
            continue
        fills = all(user.op_type == "Where" for user in users) and bool(users)
        if large.min() >= INFINITE or (fills and array.max(initial=0) <= options.max_finite_val):
            blocks.cut.add(name)
            continue
        reason = f"{name} holds {large.max():g}, more than half precision can"
        for node in [*users, *([maker] if maker is not None else [])]:
            if node.op_type not in blocks.operators and node.name not in blocks.nodes:
                blocks.nodes.add(node.name or "")
                blocks.reasons[node.name or ""] = reason
    return blocks


def quantizes(node: ir.Node) -> bool:
    """True for a node that quantizes, or computes with integers."""
    return node.op_type in QUANTIZING or node.op_type.startswith("QLinear")


def _beside_quantized(model: ir.Model) -> Iterator[ir.Node]:
    """Give the nodes between those that quantize, which runtimes join with them.

    Sums of integers, and scales, are also beyond half precision.
    """
    for node in model.graph.all_nodes():
        if not quantizes(node):
            continue
        pending = [user for value in node.outputs for user, _ in value.uses()]
        while pending:
            user = pending.pop()
            if user.op_type == "Cast":
                pending += [after for value in user.outputs for after, _ in value.uses()]
            elif user.op_type not in ANY_PRECISION and not quantizes(user):
                yield user
        maker = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if maker is None or quantizes(maker) or maker.op_type in ANY_PRECISION:
            continue
        if all(quantizes(user) for value in maker.outputs for user, _ in value.uses()):
            yield maker


def _says_its_type(node: ir.Node) -> bool:
    """True for a node that makes float32 because an attribute says so; the library reads none."""
    if node.op_type == "Cast":
        return True
    attributes = (node.attributes.get(name) for name in TYPE_ATTRIBUTES)
    return any(
        attribute is not None
        and attribute.type == ir.AttributeType.INT
        and attribute.value == ir.DataType.FLOAT
        for attribute in attributes
    )


def lift_large(model: ir.Model, limit: float) -> None:
    """Make weights of the ``Constant`` nodes that half precision cannot hold.

    The library casts the result of a node that stays float32, and so would cast these to infinity.
    """
    for node in list(model.graph.all_nodes()):
        attribute = node.attributes.get("value")
        if node.op_type != "Constant" or attribute is None or attribute.is_ref():
            continue
        tensor, output = attribute.as_tensor(), node.outputs[0]
        if tensor.dtype != ir.DataType.FLOAT or node.graph is None or output.is_graph_output():
            continue
        array = np.abs(tensor.numpy())
        if not (np.isfinite(array) & (array > limit)).any():
            continue
        weight = ir.Value(
            name=output.name,
            shape=ir.Shape(tensor.shape.numpy()),
            type=ir.TensorType(ir.DataType.FLOAT),
            const_value=tensor,
        )
        output.replace_all_uses_with(weight)
        graph = node.graph
        graph.remove(node, safe=True)
        graph.register_initializer(weight)


def separate_shared(model: ir.Model, blocks: Blocks) -> None:
    """Give blocked nodes their own copy of a weight that others need in half precision."""
    for value in list(weights(model)):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT:
            continue
        blocked = [
            (node, index)
            for node, index in value.uses()
            if node.op_type in blocks.operators or node.name in blocks.nodes
        ]
        if not blocked or len(blocked) == len(list(value.uses())) or value.graph is None:
            continue
        copy = ir.Value(
            name=f"{value.name}_float32", shape=value.shape, type=value.type, const_value=tensor
        )
        value.graph.register_initializer(copy)
        for node, index in blocked:
            node.replace_input_with(index, copy)


def _constants(
    model: ir.Model,
) -> Iterator[tuple[str, npt.NDArray[Any], list[ir.Node], ir.Node | None]]:
    """Give each float32 constant: name, values, the nodes that use it, and the one that makes it."""
    for value in weights(model):
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
            yield value.name or "", tensor.numpy(), [node for node, _ in value.uses()], None
            release(tensor)
    for node in model.graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.is_ref() or attribute.type != ir.AttributeType.TENSOR:
                continue
            tensor = attribute.as_tensor()
            if tensor.dtype == ir.DataType.FLOAT and node.outputs:
                users = [user for user, _ in node.outputs[0].uses()]
                yield node.outputs[0].name or "", tensor.numpy(), users, node
