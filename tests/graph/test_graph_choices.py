"""What a model decides by numbers, and what computes those alone."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxbuild.graph.architecture import find_kind
from onnxbuild.graph.choices import find_decisions
from onnxbuild.graph.emulate import typed_proto
from onnxbuild.graph.leaving import find_left

TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[batch, 16] x, float[batch, 4, 8, 8] image, float[batch, 5, 5, 2] grid, int64[1] k) => (float y, int64 i)
{ BODY }
"""
WEIGHTS = {
    "router": (16, 4), "head": (16, 4096), "body": (16, 16), "rows": (16,), "wide": (64, 4, 3, 3), "wider": (4, 4, 3, 3),
    "single": (4, 1, 3, 3), "place": (50, 50),
}  # fmt: skip


def read(body):
    """Make a graph whose nodes are named after their results."""
    proto = parser.parse_model(TEXT.replace("BODY", body))
    for name, shape in WEIGHTS.items():
        if any(name in node.input for node in proto.graph.node):
            proto.graph.initializer.append(
                numpy_helper.from_array(np.zeros(shape, np.float32), name)
            )
    for node in proto.graph.node:
        node.name = node.output[0]
    return typed_proto(onnx.ModelProto.FromString(proto.SerializeToString()), "")


@pytest.mark.parametrize(
    ("body", "scoring", "sources"),
    [
        pytest.param(
            "h = MatMul(x, body) g = MatMul(h, router) s = Softmax(g) y, i = TopK(s, k) z = Relu(h)",
            ["g", "s"],
            ["h"],
            id="a router, not what it reads",
        ),
        pytest.param(
            "h = MatMul(x, body) g = MatMul(h, head) s = Softmax(g) y, i = TopK(s, k)",
            ["s"],
            ["g"],
            id="a large head stays what it is",
        ),
        pytest.param(
            "h = MatMul(x, body) n = Neg(h) y, i = TopK(n, k)",
            ["h", "n"],
            ["x"],
            id="what hands on belongs to what rounds before it",
        ),
        pytest.param(
            "h = MatMul(x, body) z = Relu(h) n = Neg(h) y, i = TopK(n, k)",
            [],
            [],
            id="what is handed on alone rounds nothing",
        ),
        pytest.param(
            "s = Softmax(x) y, unused = TopK(s, k) i = Identity(k)", [], [], id="the largest numbers alone"
        ),
        pytest.param(
            "t = Transpose(x) d = MatMul(x, t) r = Sqrt(d) y, i = TopK(r, k)",
            ["d", "r"],
            ["x"],
            id="distances of points",
        ),
        pytest.param(
            "s = Sigmoid(x) b = Greater(s, x) y = Where(b, x, x) i = Identity(k)", ["s"], ["x"], id="a limit"
        ),
        pytest.param(
            "t = Tanh(grid) y = GridSample(image, t) i = Identity(k)", ["t"], ["grid"], id="places"
        ),
    ],
)  # fmt: skip
def test_what_is_computed_for_a_choice_alone(body, scoring, sources):
    """Back from the choice over what nothing else uses, up to the small product that gives the scores."""
    found = find_decisions(read(body))

    assert [node.name for one in found for node in one.scoring] == scoring
    assert [value.name for one in found for value in one.sources] == sources


@pytest.mark.parametrize(
    ("body", "left"),
    [
        pytest.param(
            "a = Conv(image, wide) r = Relu(a) m = ReduceMean(r) c = Add(m, m) y = Reshape(c, k) i = Identity(k)",
            {"c", "y"},
            id="what comes after the last weights",
        ),
        pytest.param(
            "a = Conv(image, wider) b = Add(a, image) y = Conv(b, wide) i = Identity(k)",
            set(),
            id="what comes between weights",
        ),
        pytest.param(
            "s = Sigmoid(image) d = Conv<group = 4>(s, single) y = Conv(d, wide) i = Identity(k)",
            {"d"},
            id="single channels beside floats",
        ),
        pytest.param(
            "a = Conv(image, wider) d = Conv<group = 4>(a, single) r = Relu(d) y = Conv(r, wide) i = Identity(k)",
            set(),
            id="single channels between integers",
        ),
    ],
)
def test_what_static_integers_leave(body, left):
    """What saves nothing as integers, and loses digits, is left by itself; not what the recipe names."""
    model = read(body)
    kind = find_kind(model)
    op_types = {"Conv", "Add", "Reshape", "Relu"}

    assert find_left(model, kind, op_types, static=True, named=()).names == left
    assert not find_left(model, kind, op_types, static=True, named=left).names
