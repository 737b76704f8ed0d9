"""Where a variant goes astray."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.steps.verify.locate import locate
from onnxbuild.steps.verify.spec import LocateOptions


def chain(factor, half=False):
    """Three products one after the other; the second has another factor, and may be of another shape."""
    nodes = [
        helper.make_node("Mul", ["x", "one"], ["a"], name="first"),
        helper.make_node("Mul", ["a", "factor"], ["b"], name="second"),
        helper.make_node("Mul", ["b", "one"], ["c" if half else "y"], name="third"),
    ]
    nodes += [helper.make_node("Identity", ["c"], ["y"], name="added")] if half else []
    weights = {"one": np.float32(1), "factor": np.float32(factor)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(bench, model, exported, sample="example"):
    shapes = [{"name": "trace", "sizes": {}}, {"name": "example", "sizes": {}}]
    results = bench.run(
        locate,
        LocateOptions(sample=sample),
        {
            "model": bench.model(model),
            "exported": bench.model(exported),
            "samples": bench.arrays([{"x": np.ones((n, 2), np.float32)} for n in (1, 3)]),
            "shapes": bench.value(shapes),
        },
    )
    return bench.json(results["errors"])


def test_each_node_is_held_against_the_one_of_the_same_result(bench):
    """In order, so that the first that is far off is where it begins; what is new has no other to compare with."""
    found = run(bench, chain(3, half=True), chain(2))

    assert [(node["node"], node["scaled"]) for node in found["nodes"]] == [
        ("first", 0.0),
        ("second", 0.5),
        ("added", 0.5),
    ]


def test_equal_models_are_nowhere_far_off(bench):
    """Every error is none."""
    assert {node["scaled"] for node in run(bench, chain(2), chain(2))["nodes"]} == {0.0}
