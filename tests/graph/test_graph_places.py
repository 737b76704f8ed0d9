"""Which nodes compute with positions."""

from __future__ import annotations

from onnx import parser

from onnxbuild.graph.load import from_proto
from onnxbuild.graph.places import with_places

GRID = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, n] x, float stop) => (float[batch, m] y, float[batch, n] z)
{
    zero = Constant<value_float=0.0>()
    one = Constant<value_float=1.0>()
    grid = Range(zero, stop, one)
    moved = Add(x, grid)
    boxes = Mul(moved, one)
    y = Concat<axis=1>(boxes, x)
    wave = Sin(grid)
    z = Add(x, wave)
}
"""


def test_arithmetic_with_positions_is_found():
    """A grid, what is added to it and joined with it; not what is bounded, as sines are."""
    model = from_proto(parser.parse_model(GRID), "")
    for node in model.graph:
        node.name = node.outputs[0].name

    assert with_places(model) == {"moved", "boxes", "y"}
