"""Which nodes a quantization leaves as floats by itself, though it could make integers of them, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxbuild.graph.architecture import CONVOLUTIONS, PRODUCTS, Kind
from onnxbuild.graph.choices import find_decisions
from onnxbuild.graph.load import model_graphs
from onnxbuild.graph.rows import looks_up_rows

JOINED = frozenset({"Clip", "Relu"})
"""What becomes part of the convolution or product before it."""

LONE = "a convolution of single channels between floats, where integers cost more than they save"


@dataclass(slots=True)
class Left:
    """What is left as floats."""

    names: set[str] = field(default_factory=set)
    """Names of nodes."""

    weights: dict[str, str] = field(default_factory=dict)
    """Weights that therefore stay floats, each with why."""

    def add(self, node: ir.Node, why: str) -> None:
        """Leave a node."""
        self.names.add(node.name or "")
        if _has_weights(node):
            for value in node.inputs:
                if value is not None and value.const_value is not None:
                    self.weights.setdefault(value.name or "", why)


def find_left(
    model: ir.Model, kind: Kind, op_types: Collection[str], *, static: bool, named: Collection[str]
) -> Left:
    """Find what is left: never a node that is `named`. `op_types` are those of the architecture."""
    left = Left()
    for decision in find_decisions(model):
        for node in decision.scoring:
            if node.name not in named:
                left.add(node, decision.why)
    if static:
        _leave_idle(model, kind, op_types, named, left)
        _leave_depthwise(model, op_types, named, left)
    return left


def find_scoring(model: ir.Model, named: Collection[str]) -> Left:
    """Find what is left even where the recipe says which operators to quantize."""
    return find_left(model, "dense", (), static=False, named=named)


def _leave_idle(
    model: ir.Model, kind: Kind, op_types: Collection[str], named: Collection[str], left: Left
) -> None:
    """Leave what has no weights, and nothing with weights after it that goes on in integers.

    What only shapes a result, or places it in a picture, would lose digits and save nothing; of a transformer neither
    do products of two activations.
    """
    for graph in model_graphs(model):
        useful: set[ir.Node] = set()
        for node in reversed(list(graph)):
            if node.op_type not in op_types or node.name in left.names:
                continue
            if _is_useful(node, useful) and not (kind == "transformer" and _is_product(node)):
                useful.add(node)
            elif node.name not in named:
                left.add(node, "")


def _is_useful(node: ir.Node, useful: Collection[ir.Node]) -> bool:
    makers = [value.producer() for value in node.inputs if value is not None]
    return (
        _has_weights(node)
        or looks_up_rows(node)
        or any(user in useful for value in node.outputs for user, _ in value.uses())
        or (node.op_type in JOINED and any(maker and _has_weights(maker) for maker in makers))
    )


def _is_product(node: ir.Node) -> bool:
    return node.op_type == "MatMul" and not _has_weights(node)


def _leave_depthwise(
    model: ir.Model, op_types: Collection[str], named: Collection[str], left: Left
) -> None:
    """Leave convolutions of single channels on either side of which numbers are floats.

    They multiply so little that turning numbers to integers and back costs more than they save, and one range for
    channels that do not mix loses most. Their weights are few. Between integers they stay integers.
    """

    def is_float(node: ir.Node | None) -> bool:
        return node is not None and (node.op_type not in op_types or node.name in left.names)

    for graph in model_graphs(model):
        for node in graph:
            if node.op_type not in op_types or not _is_depthwise(node) or node.name in named:
                continue
            before = node.inputs[0].producer() if node.inputs[0] is not None else None
            if is_float(before) or any(is_float(user) for user, _ in node.outputs[0].uses()):
                left.add(node, LONE)


def _is_depthwise(node: ir.Node) -> bool:
    weight = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] else None
    if node.op_type != "Conv" or weight is None:
        return False
    return bool(node.attributes.get_int("group", 1) == weight.shape.numpy()[0] > 1)


def _has_weights(node: ir.Node) -> bool:
    return node.op_type in CONVOLUTIONS | PRODUCTS and any(
        value is not None and value.const_value is not None for value in node.inputs
    )
