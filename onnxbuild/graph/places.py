"""Arithmetic with positions: the grid of a detector's boxes, the places of a sequence.

They grow with sizes, not with data. Ranges that were seen on calibration data of one size would cut them at a larger one.
"""

from __future__ import annotations

import onnx_ir as ir

CARRIES = {
    "Add", "Cast", "Clip", "Concat", "Div", "Expand", "Identity", "Max", "Min", "Mul", "Neg", "Reshape", "Slice",
    "Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators whose results are as large as the positions that go in."""


def with_places(model: ir.Model) -> set[str]:
    """Name the nodes that compute with positions, up to those that make bounded numbers or features of them."""
    places: set[ir.Value] = set()
    names: set[str] = set()
    for node in model.graph:
        if node.op_type == "Range":
            places.update(node.outputs)
        elif node.op_type in CARRIES and any(value in places for value in node.inputs):
            places.update(node.outputs)
            names.add(node.name or "")
    return names
