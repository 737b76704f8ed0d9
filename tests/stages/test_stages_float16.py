"""Half precision, and what the library breaks on the way to it."""

import os

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from onnxbuild.errors import StageError
from onnxbuild.graph import load, sessions, summary
from onnxbuild.graph.emulate import emulate
from onnxbuild.graph.finish import finish
from onnxbuild.stages.float16 import conversion
from onnxbuild.stages.float16.half import to_half
from onnxbuild.stages.float16.spec import Float16

GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 64] x) => (float[batch, 64] y)
{body}
"""


def make(body, **weights):
    model = parser.parse_model(GRAPH.replace("{body}", "{" + body + "}"))
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(model)
    return model


def noise(*shape, scale=1.0):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32) * np.float32(scale)


def describe(bench, artifact):
    return summary.summarize(bench.store.path(artifact))


@pytest.mark.parametrize(
    ("keep", "inputs", "outputs"),
    [
        pytest.param(False, "float16", "float16", id="none"),
        pytest.param(True, "float", "float", id="all"),
        pytest.param(("x",), "float", "float16", id="only the input"),
        pytest.param(("y",), "float16", "float", id="only the output"),
    ],
)
def test_keep_io_types(bench, keep, inputs, outputs):
    """`keep_io_types` holds for all, none, or the named inputs and outputs; the weights are halved."""
    model = bench.put(make("y = MatMul(x, w)", w=noise(64, 64)))
    x = noise(3, 64)

    half = bench.apply(Float16(keep_io_types=keep), model)

    found = describe(bench, half)
    assert found["inputs"] == [{"name": "x", "dtype": inputs, "shape": ["batch", 64]}]
    assert found["outputs"] == [{"name": "y", "dtype": outputs, "shape": ["batch", 64]}]
    assert found["weights"]["dtypes"].keys() == {"float16"}
    assert half.size < 0.6 * model.size
    fed = x if inputs == "float" else x.astype(np.float16)
    np.testing.assert_allclose(
        bench.run(half, {"x": fed})[0].astype(np.float32),
        bench.run(model, {"x": x})[0],
        atol=0.05,
    )
    assert bench.notes["float16_weights"] == 1


def test_cast_nodes_keep_their_types(bench):
    """A model with Cast nodes loads: the library alone makes it unloadable."""
    body = "m = MatMul(x, w)  i = Cast<to=7>(m)  f = Cast<to=1>(i)  y = Add(f, m)"
    model = bench.put(make(body, w=noise(64, 64, scale=4)))
    x = noise(2, 64)

    half = bench.apply(Float16(keep_io_types=True), model)

    np.testing.assert_allclose(
        bench.run(half, {"x": x})[0], bench.run(model, {"x": x})[0], atol=1.01
    )


def test_a_node_that_names_its_type_keeps_it(bench):
    """EyeLike with `dtype` makes float32 whatever the library believes."""
    body = "m = MatMul(x, w)  e = EyeLike<dtype=1>(m)  y = Add(e, m)"
    model = bench.put(make(body, w=noise(64, 64)))
    x = noise(2, 64)

    half = bench.apply(Float16(keep_io_types=True), model)

    np.testing.assert_allclose(
        bench.run(half, {"x": x})[0], bench.run(model, {"x": x})[0], atol=0.05
    )


def test_a_constant_that_half_cannot_hold_stays_float32(bench):
    """A factor of a million is neither cut nor infinite: its node stays float32 and is named."""
    body = "m = MatMul(x, w)  big = Mul(m, factor)  y = Div(big, factor)"
    model = bench.put(make(body, w=noise(64, 64), factor=np.array(1e6, dtype=np.float32)))
    x = noise(2, 64)

    half = bench.apply(Float16(keep_io_types=True), model)

    np.testing.assert_allclose(
        bench.run(half, {"x": x})[0], bench.run(model, {"x": x})[0], atol=0.05
    )
    assert bench.notes["float32_weights"].keys() == {"factor"}
    assert all("1e+06" in reason for reason in bench.notes["kept_float32"].values())
    assert len(bench.notes["kept_float32"]) == 2


def test_a_constant_node_that_half_cannot_hold_stays_float32(bench):
    """The same for a value inside a Constant node."""
    body = "k = Constant<value_float: float = 1.0>()  m = MatMul(x, w)  y = Mul(m, k)"
    proto = make(body, w=noise(64, 64))
    node = proto.graph.node[0]
    del node.attribute[:]
    tensor = numpy_helper.from_array(np.array([2e5], dtype=np.float32))
    node.attribute.append(helper.make_attribute("value", tensor))
    model = bench.put(proto)
    x = noise(2, 64, scale=1e-3)

    half = bench.apply(Float16(keep_io_types=True), model)

    expected = bench.run(model, {"x": x})[0]
    np.testing.assert_allclose(bench.run(half, {"x": x})[0], expected, rtol=0.05, atol=5)


def test_what_stands_for_infinity_is_cut(bench):
    """The lowest float32, as attention masks have it, becomes the lowest half and is noted."""
    body = "m = MatMul(x, w)  zero = Sub(m, m)  is = Equal(zero, m)  y = Where(is, low, m)"
    low = np.array(np.finfo(np.float32).min)
    model = bench.put(make(body, w=noise(64, 64), low=low))

    half = bench.apply(Float16(), model)

    assert bench.notes["cut_to_limit"] == ["low"]
    assert np.isfinite(bench.run(half, {"x": noise(2, 64).astype(np.float16)})[0]).all()


def test_a_weight_shared_with_a_blocked_node_is_both(bench):
    """A weight that one node needs in float32 and another in half precision is kept twice."""
    body = "a = Add(x, w)  b = CumSum(w, axis)  c = Mul(a, b)  y = MatMul(c, v)"
    model = bench.put(make(body, w=noise(64), v=noise(64, 64), axis=np.array(0)))
    x = noise(2, 64)

    half = bench.apply(Float16(keep_io_types=True, node_block_list=("Add_0",)), model)

    np.testing.assert_allclose(
        bench.run(half, {"x": x})[0], bench.run(model, {"x": x})[0], rtol=0.02, atol=0.5
    )
    assert describe(bench, half)["weights"]["dtypes"].keys() == {"float", "float16", "int64"}


@pytest.mark.parametrize("blocked", ["MatMul", "Gemm"])
def test_a_shared_weight_is_both_whichever_node_comes_first(bench, blocked):
    """The second way to have it does not take the place of the first."""
    model = bench.put(make("a = MatMul(x, w)  y = Gemm(a, w)", w=noise(64, 64, scale=0.1)))
    x = noise(2, 64)

    half = bench.apply(Float16(keep_io_types=True, op_block_list=(blocked,)), model)

    np.testing.assert_allclose(
        bench.run(half, {"x": x})[0], bench.run(model, {"x": x})[0], atol=0.02
    )
    assert describe(bench, half)["weights"]["dtypes"].keys() == {"float", "float16"}


def test_weights_are_rounded():
    """Zero, infinities and NaN stay; what is too large becomes the largest, sign kept."""
    values = [0, -0.0, 1e-9, 3.5, -7e4, 7e4, np.inf, -np.inf, 2e-7, 1e30, np.nan, 0.1]

    half = to_half(np.array(values, dtype=np.float32), ir.DataType.FLOAT16, 65504.0)

    expected = [0, -0.0, 0, 3.5, -65504, 65504, np.inf, -np.inf, 1.788e-7, 65504, np.nan, 0.1]
    np.testing.assert_array_equal(half, np.array(expected, np.float16))


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        pytest.param({"keep_io_types": ("z",)}, "keep_io_types", "x", id="input"),
        pytest.param({"node_block_list": ("frist",)}, "node_block_list", "'first'", id="node"),
        pytest.param({"op_block_list": ("MatMul",)}, "no weight became", "blocked", id="all blocked"),
    ],
)  # fmt: skip
def test_wrong_options_are_explained(bench, options, message, hint):
    """A name that the model does not have, or nothing left to convert, is an error with a hint."""
    proto = make("y = MatMul(x, w)", w=noise(64, 64))
    proto.graph.node[0].name = "first"
    model = bench.put(proto)

    with pytest.raises(StageError, match=message) as caught:
        bench.apply(Float16(**options), model)

    assert hint in caught.value.hint


def test_half_of_half_is_refused(bench):
    """A model that is half precision already is not converted again in silence."""
    model = bench.put(make("y = MatMul(x, w)", w=noise(64, 64)))
    half = bench.apply(Float16(), model)

    with pytest.raises(StageError, match="already"):
        bench.apply(Float16(), half)


def test_an_operator_without_half_precision_stays_float32(bench):
    """By what its schema says, whatever its domain; nothing has to be blocked by hand."""
    proto = make("y = MatMul(x, w)", w=noise(64, 64))
    proto.graph.node[0].output[0] = "m"
    proto.graph.node.append(helper.make_node("CDist", ["m", "x"], ["y"], domain="com.microsoft"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "other"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model = bench.put(proto)
    x = noise(3, 64)

    half = bench.apply(Float16(keep_io_types=True), model)

    np.testing.assert_allclose(
        bench.run(half, {"x": x})[0], bench.run(model, {"x": x})[0], rtol=0.02
    )


def test_sums_by_index_stay_float32(bench):
    """A scatter that adds up loads in half precision and fails when it is run; the stage's runs."""
    proto = make(
        's = ScatterElements <axis = 1, reduction = "add"> (x, places, x)\n y = MatMul(s, w)',
        w=noise(64, 64),
        places=np.arange(64, dtype=np.int64).reshape(1, 64) % 5,
    )
    model = bench.put(proto)
    x = noise(1, 64)

    half = bench.apply(Float16(), model)

    given = bench.run(half, {"x": x.astype(np.float16)})[0]
    np.testing.assert_allclose(given, bench.run(model, {"x": x})[0], rtol=0.02, atol=0.5)


def test_transposes_that_crash_onnxruntime_stay_float32(bench):
    """Two transposes before a product end the process that loads them in half precision; the stage's do not."""
    proto = make("d = Transpose<perm=[0, 1]>(x)  y = MatMul(d, w)", w=noise(64, 64))
    del proto.graph.node[:]
    for name in ("x", "y"):
        port = proto.graph.input[0] if name == "x" else proto.graph.output[0]
        sizes = [64, 2, 3, 64]
        port.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes))
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 64, 64])
    )
    proto.graph.node.extend(
        [
            helper.make_node("Transpose", ["x"], ["d"], perm=[0, 2, 1, 3]),
            helper.make_node("Transpose", ["d"], ["e"], perm=[2, 1, 0, 3]),
            helper.make_node("MatMul", ["e", "w"], ["y"]),
        ]
    )
    model = bench.put(proto)
    x = noise(64, 2, 3, 64)

    half = bench.apply(Float16(keep_io_types=True), model)

    np.testing.assert_allclose(
        bench.run(half, {"x": x})[0], bench.run(model, {"x": x})[0], atol=0.1
    )
    kept = bench.notes.get("kept_float32", {"": "SIGSEGV"})
    assert all("SIGSEGV" in why for why in kept.values())


def test_what_goes_wrong_on_the_way_is_told(bench, monkeypatch):
    """It is no sign that nothing is half any more, and loads therefore."""
    made = []

    def finish_once(*given, **options):
        made.append(given)
        if len(made) > 1:
            raise StageError("something else")
        return finish(*given, **options)

    monkeypatch.setattr(conversion, "finish", finish_once)
    failing = sessions.Loading(error="no kernel for MatMul_0")
    monkeypatch.setattr(sessions, "try_loading", lambda path: failing)

    with pytest.raises(StageError, match="something else"):
        bench.apply(
            Float16(), bench.put(make("m = MatMul(x, w)  y = MatMul(m, w)", w=noise(64, 64)))
        )


def test_large_weights_are_read_one_at_a_time(bench):
    """The graph goes to the library without its weights: they are halved as they are kept."""
    model = bench.put(make("y = MatMul(x, w)", w=noise(64, 64)))

    half = bench.apply(Float16(), model)

    proto = onnx.load(bench.store.path(half), load_external_data=False)
    weight = proto.graph.initializer[0]
    assert weight.data_location == TensorProto.EXTERNAL
    values = load.read(bench.store.path(half)).graph.initializers["w"].const_value.numpy()
    np.testing.assert_array_equal(values, noise(64, 64).astype(np.float16))


def test_no_graph_is_ever_whole(bench):
    """Whatever is handed to a library stays small: weights lie in blobs, before and after, and are read by need."""
    generator = np.random.default_rng(0)
    body = "a = MatMul(x, w)  b = MatMul(a, v)  y = MatMul(b, u)"
    sizes = {"w": (64, 4096), "v": (4096, 512), "u": (512, 64)}
    arrays = {
        name: generator.standard_normal(size).astype(np.float32) for name, size in sizes.items()
    }
    model = bench.put(make(body, **arrays))

    half = bench.apply(Float16(), model, samples=[{"x": noise(2, 64)}])

    path = bench.store.path(half)
    assert model.size > 8_000_000
    assert half.size < 0.51 * model.size
    assert os.path.getsize(path) < 5000
    assert emulate(path, bench.store.root).ByteSize() < 5000
    assert len(half.parts) == 3
