"""Where a variant goes astray: broken variants of one model, each broken in its own way."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.report.locating import find_departure
from onnxbuild.steps.verify.locate import locate, match
from onnxbuild.steps.verify.spec import LocateOptions

WIDTH = 32
LAYERS = 5
GENERATOR = np.random.default_rng(0)
WEIGHTS = {
    f"w{i}": (GENERATOR.standard_normal((WIDTH, WIDTH)) / 5).astype(np.float32)
    for i in range(LAYERS)
} | {f"b{i}": GENERATOR.standard_normal(WIDTH).astype(np.float32) / 4 for i in range(LAYERS)}


def layer(i):
    """One layer: a product, a sum, an activation; named as the exporters' nodes are."""
    before = f"h{i}" if i else "x"
    after = f"h{i + 1}" if i < LAYERS - 1 else "y"
    path = f"layers.{i}"
    return [
        helper.make_node("MatMul", [before, f"w{i}"], [f"p{i}"], name=f"{path}/MatMul"),
        helper.make_node("Add", [f"p{i}", f"b{i}"], [f"s{i}"], name=f"{path}/Add"),
        helper.make_node("Tanh", [f"s{i}"], [after], name=f"{path}/Tanh"),
    ]


def make(nodes=None, kind=TensorProto.FLOAT, **weights):
    nodes = nodes if nodes is not None else [node for i in range(LAYERS) for node in layer(i)]
    arrays = {**WEIGHTS, **weights}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", kind, ["batch", WIDTH])],
        [tensor(array, name) for name, array in arrays.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def tensor(array, name):
    array = np.asarray(array)
    if array.dtype == ml_dtypes.bfloat16:
        return helper.make_tensor(
            name, TensorProto.BFLOAT16, array.shape, array.tobytes(), raw=True
        )
    return numpy_helper.from_array(array, name)


def replaced(changes):
    """The model's nodes, those of some names replaced by others."""
    nodes = []
    for node in make().graph.node:
        nodes += changes.get(node.name, [node])
    return nodes


def run(bench, model, exported, sample="example"):
    shapes = [{"name": "trace", "sizes": {}}, {"name": "example", "sizes": {}}]
    generator = np.random.default_rng(3)
    items = [{"x": generator.standard_normal((n, WIDTH)).astype(np.float32)} for n in (1, 4)]
    results = bench.run(
        locate,
        LocateOptions(sample=sample),
        {
            "model": bench.model(model),
            "exported": bench.model(exported),
            "samples": bench.arrays(items),
            "shapes": bench.value(shapes),
        },
    )
    return bench.json(results["errors"])


def wrong_weight():
    return make(w2=WEIGHTS["w2"].T.copy())


def wrong_bias_of_a_fused_node():
    gemm = helper.make_node("Gemm", ["h3", "w3", "wrong"], ["s3"], name="fused")
    return make(replaced({"layers.3/MatMul": [], "layers.3/Add": [gemm]}), wrong=-WEIGHTS["b3"])


def another_activation():
    return make(
        replaced({"layers.1/Tanh": [helper.make_node("Sigmoid", ["s1"], ["h2"], name="a")]})
    )


def another_axis():
    nodes = [
        helper.make_node("Softmax", ["s2"], ["h3"], name="layers.2/Softmax", axis=axis)
        for axis in (1, 0)
    ]
    return (
        make(replaced({"layers.2/Tanh": nodes[1:]})),
        make(replaced({"layers.2/Tanh": nodes[:1]})),
    )


def a_layer_left_out():
    identity = helper.make_node("Identity", ["h1"], ["h2"], name="nothing")
    return make(
        replaced(
            {f"layers.1/{kind}": [] for kind in ("MatMul", "Add")} | {"layers.1/Tanh": [identity]}
        )
    )


def coarse_integers():
    """Quantized and back, with a scale that is far too large; the results' names are the quantizer's."""
    nodes = [
        helper.make_node("QuantizeLinear", ["s1", "scale", "zero"], ["s1_QuantizeLinear_Output"]),
        helper.make_node(
            "DequantizeLinear", ["s1_QuantizeLinear_Output", "scale", "zero"],
            ["s1_DequantizeLinear_Output"], name="s1_DequantizeLinear",
        ),
        helper.make_node("Tanh", ["s1_DequantizeLinear_Output"], ["h2"], name="layers.1/Tanh"),
    ]  # fmt: skip
    return make(replaced({"layers.1/Tanh": nodes}), scale=np.float32(3), zero=np.array(0, np.int8))


def a_weight_in_coarse_integers():
    """One column a thousand times larger: one scale for all leaves nothing of the others."""
    weight = WEIGHTS["w2"].copy()
    weight[:, 0] *= 1000
    whole = np.round(weight / (np.abs(weight).max() / 127)).astype(np.int8)
    scale = np.float32(np.abs(weight).max() / 127)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w2_DequantizeLinear_Output"]),
        helper.make_node(
            "MatMul", ["h2", "w2_DequantizeLinear_Output"], ["p2"], name="layers.2/MatMul"
        ),
    ]
    broken = make(replaced({"layers.2/MatMul": nodes}), q=whole, scale=scale)
    return broken, make(w2=weight)


def half(**weights):
    arrays = {name: array.astype(np.float16) for name, array in {**WEIGHTS, **weights}.items()}
    return make(kind=TensorProto.FLOAT16, **arrays)


def an_overflow_that_the_cpu_hides():
    """Sums of a million are infinite in half; a factor brings them back in the exported model."""
    nodes = [
        helper.make_node("Mul", ["p3", "k"], ["large"], name="layers.3/Mul"),
        helper.make_node("Mul", ["large", "j"], ["small"], name="layers.3/Mul_2"),
        helper.make_node("Add", ["small", "b3"], ["s3"], name="layers.3/Add"),
    ]
    nodes = replaced({"layers.3/Add": nodes})
    scales = {"k": np.float32(2**18), "j": np.float32(2**-18)}
    exported = make(nodes, **scales)
    # The CPU provider would multiply in float32.
    cast = {"k": np.float16(60000), "j": np.float16(1 / 60000)}
    arrays = {name: array.astype(np.float16) for name, array in WEIGHTS.items()}
    return make(nodes, kind=TensorProto.FLOAT16, **{**arrays, **cast}), exported


def digits_that_half_loses():
    """A large number is added and taken away again."""
    nodes = [
        helper.make_node("Add", ["p1", "k"], ["raised"], name="layers.1/Add_1"),
        helper.make_node("Sub", ["raised", "k"], ["lowered"], name="layers.1/Sub"),
        helper.make_node("Add", ["lowered", "b1"], ["s1"], name="layers.1/Add"),
    ]
    nodes = replaced({"layers.1/Add": nodes})
    arrays = {name: array.astype(np.float16) for name, array in WEIGHTS.items()}
    exported = make(nodes, k=np.float32(2000))
    return make(nodes, kind=TensorProto.FLOAT16, **arrays, k=np.float16(2000)), exported


def bfloat16_with_a_wrong_weight():
    wrong = {**WEIGHTS, "w1": -WEIGHTS["w1"]}
    arrays = {name: array.astype(ml_dtypes.bfloat16) for name, array in wrong.items()}
    return make(kind=TensorProto.BFLOAT16, **arrays)


def renamed_by_a_conversion():
    """Inputs, outputs and results of half precision have names of their own; one bias is wrong."""
    arrays = {name: array.astype(np.float16) for name, array in WEIGHTS.items()}
    arrays["b4"] = arrays["b4"] + np.float16(0.5)
    nodes = [
        helper.make_node("Cast", ["x"], ["x_float16"], name="x_float16", to=TensorProto.FLOAT16),
        *make().graph.node,
        helper.make_node("Cast", ["y_float16"], ["y"], name="y", to=TensorProto.FLOAT),
    ]
    nodes[1].input[0] = "x_float16"
    nodes[-2].output[0] = "y_float16"
    return make(nodes, **arrays)


BROKEN = {
    "a wrong weight": (wrong_weight, "layers.2/MatMul"),
    "a wrong bias of a fused node": (wrong_bias_of_a_fused_node, "layers.3/Add"),
    "another activation": (another_activation, "layers.1/Tanh"),
    "another axis": (another_axis, "layers.2/Softmax"),
    "a layer left out": (a_layer_left_out, "layers.1/Tanh"),
    "coarse integers": (coarse_integers, "layers.1/Add"),
    "a weight in coarse integers": (a_weight_in_coarse_integers, "layers.2/MatMul"),
    "an overflow that the CPU hides": (an_overflow_that_the_cpu_hides, "layers.3/Mul"),
    "digits that half loses": (digits_that_half_loses, "layers.1/Sub"),
    "bfloat16 with a wrong weight": (bfloat16_with_a_wrong_weight, "layers.1/MatMul"),
    "renamed by a conversion": (renamed_by_a_conversion, "layers.4/Add"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variant_is_located(bench, name):
    """Where the error jumps, not where there is some; whatever the variant calls its results."""
    function, expected = BROKEN[name]
    made = function()
    broken, exported = made if isinstance(made, tuple) else (made, make())
    onnx.checker.check_model(broken)

    found = run(bench, broken, exported)

    node = find_departure(found["nodes"], found["end"])
    assert node["node"] == expected
    assert node["came_in"] < node["scaled"]
    assert node["low"] < node["high"]


def test_what_is_quantized_is_compared_after_it_was_cut_off(bench):
    """A Relu that became the lower end of a range is no departure: what comes of the range is compared."""
    relu = [helper.make_node("Relu", ["x"], ["h"], name="a/Relu")]
    after = [helper.make_node("MatMul", ["h", "w0"], ["y"], name="b/MatMul")]
    quantized = [
        helper.make_node("Identity", ["x"], ["h"], name="a/Identity"),
        helper.make_node("QuantizeLinear", ["h", "scale", "zero"], ["q"], name="h_QuantizeLinear"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["h_DequantizeLinear_Output"]),
        helper.make_node("MatMul", ["h_DequantizeLinear_Output", "w0"], ["y"], name="b/MatMul"),
    ]
    variant = make(quantized, scale=np.float32(4 / 255), zero=np.uint8(0))

    found = run(bench, variant, make(relu + after))

    assert max(node["scaled"] for node in found["nodes"]) < 0.05


def test_where_no_error_jumps_the_result_that_adds_most_is_told():
    """Errors that add up from node to node have no single cause."""
    errors = [0.1, 0.15, 0.28, 0.3]
    nodes = [
        {"node": str(i), "scaled": error, "came_in": errors[i - 1] if i else 0.08}
        for i, error in enumerate(errors)
    ]

    assert find_departure(nodes, 0.3)["node"] == "2"
    assert find_departure(nodes, 0.0) is None
    assert find_departure([], 0.3) is None


def test_results_are_matched_by_the_names_that_conversions_give():
    """A name that both have is that; else what was appended is taken off, once or twice."""
    exported = ["a", "b", "b_float16", "c"]
    variant = [
        "a",
        "b_float16",
        "c_float16_2",
        "c_QuantizeInput_DequantizeLinear_Output",
        "d_float16",
    ]

    assert match(exported, variant) == {
        "a": "a",
        "b_float16": "b_float16",
        "c_float16_2": "c",
        "c_QuantizeInput_DequantizeLinear_Output": "c",
    }


def test_memory_is_bounded(bench, monkeypatch):
    """With room for one result at a time, all are still looked at."""
    monkeypatch.setattr("onnxbuild.steps.verify.sides.MOST_BYTES", 1)

    found = run(bench, wrong_weight(), make())

    assert len(found["nodes"]) == 3 * LAYERS


def test_equal_models_are_nowhere_far_off(bench):
    """Every error is none."""
    found = run(bench, make(), make())

    assert {node["scaled"] for node in found["nodes"]} == {0.0}
    assert found["end"] == 0
