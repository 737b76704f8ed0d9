"""What a model decides by numbers: which experts, boxes or neighbours it takes, at which places it looks.

Where two scores are close, a rounding turns a choice over, and what comes out jumps; a place is off by a share of the
whole picture. So conversions leave alone what computes the scores alone: back from the deciding node through all
that is used for nothing else, to the first product with weights, which is the router or the head that gives the
scores, where that is small. What comes in there was rounded before, and stays so: close choices get fewer, not none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeGuard

import onnx_ir as ir

from onnxbuild.graph.load import model_graphs
from onnxbuild.graph.weights import weights

DECIDING: dict[str, tuple[int, ...]] = {
    "ArgMax": (0,), "ArgMin": (0,), "Equal": (0, 1), "Greater": (0, 1), "GreaterOrEqual": (0, 1), "Less": (0, 1),
    "LessOrEqual": (0, 1), "NonMaxSuppression": (0, 1), "NonZero": (0,), "TopK": (0,),
}  # fmt: skip
"""Operators that decide, and by which of their inputs."""

PLACING: dict[str, tuple[int, ...]] = {"DeformConv": (2,), "GridSample": (1,), "RoiAlign": (1,)}
"""Operators that look at places, and which of their inputs says where."""

ORDERING = frozenset({"ArgMax", "ArgMin", "NonMaxSuppression", "TopK"})
"""Of those that decide, the ones that compare many numbers with one another: some are always close."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply by weights."""

CLOSED = frozenset({"GRU", "If", "LSTM", "Loop", "RNN", "Scan"})
"""Operators that are not looked through."""

EXACT = frozenset(
    {
        "Abs", "Cast", "Compress", "Concat", "ConstantOfShape", "Expand", "Flatten", "Gather", "GatherElements",
        "GatherND", "Identity", "Max", "MaxPool", "Min", "Neg", "Pad", "Relu", "Reshape", "Slice", "Split", "Squeeze",
        "Tile", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""Operators that give numbers which they were given: alone, they round nothing."""

ASKING = frozenset({"Shape", "Size"})
"""Operators that ask nothing of the numbers."""

SMALL = 1024
"""Elements of a weight that is small whatever the model's size."""

SHARE = 0.02
"""Share of all weights up to which one is small."""

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


@dataclass(frozen=True, slots=True)
class Decision:
    """One node that decides, or looks at places, and the nodes that compute for it alone."""

    node: ir.Node
    scoring: tuple[ir.Node, ...]
    sources: tuple[ir.Value, ...]
    """What the scores are computed from."""

    @property
    def is_close(self) -> bool:
        """True where some scores are always close, or a place is meant: not for a limit that numbers are above."""
        return self.node.op_type in ORDERING or self.node.op_type in PLACING

    @property
    def why(self) -> str:
        """Say why the nodes are left alone."""
        does = "looks for places" if self.node.op_type in PLACING else "chooses"
        return f"{self.node.name or self.node.op_type} ({self.node.op_type}) {does} by it"


def find_decisions(model: ir.Model) -> list[Decision]:
    """List the nodes of a model that decide by what is computed for them, each with that; in order."""
    total = sum(value.const_value.size for value in weights(model) if value.const_value is not None)
    most = max(SMALL, SHARE * total)
    found = []
    for graph in model_graphs(model):
        nodes = list(graph)
        places = {node: index for index, node in enumerate(nodes)}
        found += [
            _trace(node, scores, places, most)
            for node in nodes
            if not node.domain and (scores := scores_of(node))
        ]
    return [one for one in found if one.scoring]


def scores_of(node: ir.Node) -> list[ir.Value]:
    """Give the floating numbers by which a node decides, or looks at places; none where it does neither."""
    if node.op_type == "TopK" and not _is_used(node.outputs[1]):
        # The largest numbers themselves change as little as what they are taken of.
        return []
    indices = DECIDING.get(node.op_type) or PLACING.get(node.op_type, ())
    values = (node.inputs[index] for index in indices if index < len(node.inputs))
    return [value for value in values if _is_float(value)]


def _trace(
    node: ir.Node, scores: list[ir.Value], places: dict[ir.Node, int], most: float
) -> Decision:
    """Go back from a node over what is used for it alone. Later nodes first: all users of a node are then known."""
    through, stopped, sources = {node}, set[ir.Node](), dict[ir.Value, None]()
    pending = {maker for value in scores if (maker := value.producer()) in places and maker}
    sources |= {value: None for value in scores if value.producer() is None}
    while pending:
        maker = max(pending, key=places.__getitem__)
        pending.remove(maker)
        weight = _weight_size(maker)
        if not _is_for(maker, through) or maker.op_type in CLOSED or weight > most:
            sources |= {value: None for value in maker.outputs if _is_float(value)}
            continue
        (stopped if weight else through).add(maker)
        for value in maker.inputs:
            if not _is_float(value) or value.const_value is not None:
                continue
            before = value.producer()
            if weight or before not in places or before is None:
                sources[value] = None
            else:
                pending.add(before)
    scoring = sorted((through - {node}) | stopped, key=places.__getitem__)
    return Decision(node, tuple(_rounding(scoring)), tuple(sources))


def _rounding(nodes: list[ir.Node]) -> list[ir.Node]:
    """Leave out the nodes that come first and only hand on."""
    kept: dict[ir.Node, None] = {}
    for node in nodes:
        makers = [value.producer() for value in node.inputs if value is not None]
        if node.op_type not in EXACT or any(maker in kept for maker in makers):
            kept[node] = None
    return list(kept)


def _is_for(node: ir.Node, through: Collection[ir.Node]) -> bool:
    """Tell whether the results of a node are used by these nodes alone."""
    return not any(value.is_graph_output() for value in node.outputs) and all(
        user in through or user.op_type in ASKING
        for value in node.outputs
        for user, _ in value.uses()
    )


def _weight_size(node: ir.Node) -> int:
    """Give the elements of the weights that a node multiplies by; 0 where it has none."""
    if node.op_type not in WEIGHTED:
        return 0
    tensors = (value.const_value for value in node.inputs if value is not None)
    return max((tensor.size for tensor in tensors if tensor and len(tensor.shape) > 1), default=0)


def _is_float(value: ir.Value | None) -> TypeGuard[ir.Value]:
    """Tell whether a value is a floating number, or may be one."""
    return value is not None and (value.dtype is None or value.dtype in FLOATS)


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
