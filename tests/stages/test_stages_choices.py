"""What decides by close numbers keeps them, and ranges are seen at the sizes that a recipe allows."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from onnxbuild.graph import load
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.sizes import Seen, is_batched, lacking, resize
from onnxbuild.stages.quantize_static.spec import QuantizeStatic

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 64] x) => (float[batch, 64] y)
{ BODY }
"""
ROUTED = (
    "h = MatMul(x, a) g = MatMul(h, router) s = Softmax(g) p, i = TopK(s, two) c = Cast<to = 1>(i)"
    " q = Mul(p, c) m = ReduceMean<axes = [-1]>(q) z = MatMul(h, b) y = Mul(z, m)"
)


def make(body, **weights):
    generator = np.random.default_rng(0)
    model = parser.parse_model(TEXT.replace("BODY", body))
    for name, shape in weights.items():
        array = (
            generator.standard_normal(shape).astype(np.float32)
            if isinstance(shape, tuple)
            else shape
        )
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def routed():
    return make(ROUTED, a=(64, 64), b=(64, 64), router=(64, 4), two=np.array([2]))


def dtypes(bench, artifact):
    model = load.read(bench.store.path(artifact))
    return {value.name: value.dtype.name for value in model.graph.initializers.values()}


def test_a_router_stays_float32(bench):
    """Its scores are computed in float32 and chosen from in float32; the rest is half precision."""
    half = bench.apply(Float16(), bench.put(routed()))

    found = dtypes(bench, half)
    assert (found["a"], found["b"], found["router"]) == ("FLOAT16", "FLOAT16", "FLOAT")
    assert bench.notes["kept_float32"].keys() == {"g", "s", "p"}
    assert set(bench.notes["kept_float32"].values()) == {"p (TopK) chooses by it"}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        pytest.param({}, {"router": "MatMul: p (TopK) chooses by it"}, id="left out"),
        pytest.param({"nodes_to_quantize": ("*",)}, {}, id="named"),
    ],
)
def test_a_router_stays_no_integer_unless_it_is_named(bench, options, kept):
    """It is told among the weights that stay floats, with the choice that it is for."""
    bench.apply(QuantizeDynamic(**options), bench.put(routed()))

    assert bench.notes["float_weights"] == kept


@pytest.mark.parametrize(("keep", "dtype"), [(None, "FLOAT"), (False, "FLOAT16")])
def test_points_whose_nearest_are_looked_for_stay_float32(bench, keep, dtype):
    """An input whose last digits decide stays float32, unless the recipe says that inputs do not."""
    body = "t = Transpose(x) d = MatMul(x, t) n, i = TopK<largest = 0>(d, k) c = Cast<to = 1>(i)"
    body += " m = ReduceMean<axes = [-1]>(c) z = MatMul(x, a) y = Mul(z, m)"
    model = bench.put(make(body, a=(64, 64), k=np.array([2])))

    half = bench.apply(Float16(keep_io_types=keep), model)

    assert load.read(bench.store.path(half)).graph.inputs[0].dtype.name == dtype
    assert ("float32_inputs" in bench.notes) == (dtype == "FLOAT")


def test_an_input_that_half_cannot_hold_stays_float32(bench):
    """So it is fed whole, and only what is computed from it is half precision."""
    model = bench.put(
        make("h = Mul(x, tiny) y = MatMul(h, a)", tiny=(np.float32([1e-6])), a=(64, 64))
    )
    x = np.full((2, 64), 1e6, np.float32)

    half = bench.apply(Float16(), model, samples=[{"x": x}])

    assert bench.notes["float32_inputs"] == {"x": "x reaches 1e+06"}
    expected = bench.run(model, {"x": x})[0]
    np.testing.assert_allclose(bench.run(half, {"x": x})[0], expected, rtol=0.02, atol=0.05)


def test_a_constant_is_shared_in_either_order(bench):
    """A constant that a node has in half precision, and a later one in float32, is kept twice."""
    body = "h = MatMul(x, a) z = Mul(h, c) w = MatMul(z, b) r = CumSum(w, axis) y = Mul(r, c)"
    model = bench.put(
        make(body, a=(64, 64), b=(64, 64), c=np.full(64, 0.5, np.float32), axis=np.array(1))
    )

    bench.apply(Float16(keep_io_types=True, node_block_list=("y",)), model)

    assert "kept_float32" not in bench.notes


def test_sizes_that_the_data_lack_are_made_of_them():
    """Each size once, without regard to the batch; items are repeated and cut."""
    items = [{"x": np.arange(6.0).reshape(1, 2, 3)} for _ in range(9)]
    seen = Seen(items)
    assert len(list(seen)) == 9

    samples = [{"x": shape} for shape in ((1, 2, 3), (5, 2, 3), (1, 2, 5), (5, 2, 5), (1, 1, 3))]

    assert is_batched(samples)
    assert lacking(seen, samples) == [2, 4]
    longer = resize(seen.kept[0], samples[3], batched=True)["x"]
    np.testing.assert_array_equal(longer, [[[0, 1, 2, 0, 1], [3, 4, 5, 3, 4]]])
    assert resize(seen.kept[0], samples[4], batched=True)["x"].shape == (1, 1, 3)


def test_the_first_axis_is_a_batch_only_where_all_inputs_have_it():
    """Nodes of a graph are none beside its edges."""
    assert not is_batched([{"nodes": (5, 16), "edges": (2, 9)}])


def summing():
    """A sum over an axis, which is larger the longer that is, in front of a product."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], name="s", keepdims=0),
        helper.make_node("MatMul", ["s", "w"], ["y"], name="y"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        [
            numpy_helper.from_array(np.eye(8, dtype=np.float32), "w"),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_ranges_are_seen_at_the_sizes_that_the_recipe_allows(bench):
    """Calibrated with short items, a longer one is not cut off."""
    model = bench.put(summing())
    data = bench.put_items([{"x": np.ones((1, 2, 8), np.float32)}])
    long = {"x": np.ones((1, 20, 8), np.float32)}

    small = bench.apply(
        QuantizeStatic(data="d"), model, data, samples=[{"x": np.ones((1, 2, 8), np.float32)}, long]
    )

    assert bench.notes["sizes_added"] == ["other 1"]
    np.testing.assert_allclose(bench.run(small, long)[0], 20, atol=0.5)
