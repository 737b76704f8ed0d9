"""Which choices a variant makes otherwise, and what is left of its error without them."""

import numpy as np
import pytest
from onnx import numpy_helper, parser

from onnxbuild.graph import save
from onnxbuild.report.choices import judge_choices
from onnxbuild.steps.verify.choices import look_at_choices
from onnxbuild.steps.verify.others import COUNT, find_chosen, look_at_others
from onnxbuild.steps.verify.sides import Side

TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
g (float[1, 4] x) => (float[1, 2] y)
{ BODY }
"""
CHOSEN = {
    "topk": "s = Mul(x, w) v, i = TopK(s, two) a = Add(v, v) t = GatherElements<axis = 1>(far, i) y = Mul(t, a)",
    "argmax": "s = Mul(x, w) i = ArgMax<axis = 1, keepdims = 1>(s) t = GatherElements<axis = 1>(far, i) y = Concat<axis = 1>(t, t)",
    "limit": "s = Mul(x, w) b = Greater(s, one) t = Where(b, far, zero) y = Slice(t, k0, k2, k1)",
}  # fmt: skip
X = {"x": np.array([[1.0, 0.999, 0.1, 0.2]], np.float32)}


@pytest.fixture
def make(bench):
    def make(body, *weights):
        model = parser.parse_model(TEXT.replace("BODY", body))
        arrays = {
            "w": np.array(weights, np.float32),
            "far": np.array([[1, 50, -7, 3]], np.float32),
            "one": np.float32([0.9995]), "zero": np.float32([0]), "two": np.array([2]),
            "k0": np.array([0]), "k1": np.array([1]), "k2": np.array([2]),
        }  # fmt: skip
        used = {name for node in model.graph.node for name in node.input}
        for name in used & arrays.keys():
            model.graph.initializer.append(numpy_helper.from_array(arrays[name], name))
        for node in model.graph.node:
            node.name = f"layer/{node.output[0]}"
        return Side.read(bench.store.path(save.put(model, bench.store)), rounding=False)

    return make


@pytest.mark.parametrize("name", CHOSEN)
def test_choices_that_turn_over_are_counted_and_their_error_is_taken_out(make, name):
    """Rounding lets two close numbers change places; with the exported model's choices next to nothing is off."""
    exported = make(CHOSEN[name], 1, 1, 1, 1)
    variant = make(CHOSEN[name], 0.999, 1.001, 1, 1)

    found = look_at_choices(exported, variant, X, 1)

    assert [node["node"].partition("/")[0] for node in found["nodes"]] == ["layer"]
    assert found["nodes"][0]["differ"] > 0
    assert found["same"]["scaled"] < 0.002


def test_where_no_choice_differs_nothing_is_told(make):
    """Nor where nothing is chosen."""
    exported = make(CHOSEN["topk"], 1, 1, 1, 1)

    assert look_at_choices(exported, make(CHOSEN["topk"], 1.01, 1.01, 1, 1), X, 1) is None
    plain = make("y = Slice(x, k0, k2, k1)", 1)
    assert look_at_choices(plain, plain, X, 1) is None


def test_choices_that_hold_on_the_samples_are_looked_at_on_other_inputs(make):
    """The same values at other places: how many turn a choice over, at which node, and how far off that is."""
    exported = make(CHOSEN["topk"], 1, 1, 1, 1)
    variant = make(CHOSEN["topk"], 1.001, 1, 1, 0.999)

    found = look_at_others(exported.path, variant.path, 1, X)

    assert found["inputs"] == COUNT
    assert 0 < found["turned"] < COUNT
    assert found["nodes"].keys() == {"layer/v"}
    assert found["scaled"] > 0.5


def test_what_is_chosen_to_be_given_away_is_no_choice_inside(make):
    """Nor is a limit that numbers are above: then no input is run."""
    assert not find_chosen(make(CHOSEN["limit"], 1, 1, 1, 1).path)
    assert look_at_others(make(CHOSEN["limit"], 1).path, "", 1, X) is None


@pytest.mark.parametrize(
    ("others", "told"),
    [
        pytest.param(None, [], id="nothing is chosen"),
        pytest.param({"turned": 0, "inputs": 16, "nodes": {}, "scaled": 0.0}, [], id="none turns over"),
        pytest.param({"turned": 2, "inputs": 16, "nodes": {"a": 2}, "scaled": 0.001}, [], id="no harm"),
        pytest.param(
            {"turned": 2, "inputs": 16, "nodes": {"a": 2}, "scaled": 0.5},
            ["2 of 16, where the scaled error is up to 0.5"],
            id="harm",
        ),
    ],
)  # fmt: skip
def test_choices_that_may_turn_over_are_a_warning(others, told):
    """Where the error is more than is allowed of the samples."""
    found = list(judge_choices(others, 0.01))

    assert [finding.measured for finding in found] == told
    assert all(finding.level == "warning" for finding in found)
