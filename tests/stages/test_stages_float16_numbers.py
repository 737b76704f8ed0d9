"""Half precision that holds where half is really computed: by onnx's reference implementation, whose numpy does."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from onnxbuild.graph import load, summary
from onnxbuild.stages.float16.spec import Float16

GRAPH = """
<ir_version: 8, opset_import: ["" : OPSET, "com.microsoft" : 1, "own" : 1]>
g (float[batch, 64] x) => (float[batch, SIZE] y)
{BODY}
"""

W = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32) / 8


def make(body, opset=18, size="64", **weights):
    text = GRAPH.replace("OPSET", str(opset)).replace("SIZE", size)
    model = parser.parse_model(text.replace("{BODY}", "{" + body + "}"))
    for name, array in {"w": W, **weights}.items():
        if name in body.replace("(", " ").replace(")", " ").replace(",", " ").split():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def noise(rows=3, scale=1.0, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((rows, 64)) * scale).astype(np.float32)


def f(value):
    return np.array(value, np.float32)


def true_half(bench, artifact, feed):
    """Run in numpy's half."""
    proto = load.read_proto(bench.store.path(artifact))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return ReferenceEvaluator(proto).run(None, feed)[0]


def operators(bench, artifact):
    return summary.summarize(bench.store.path(artifact))["operators"]


def convert_and_compare(bench, proto, x, tolerance=0.01, **options):
    """Convert, having looked at `x`; the numbers hold in onnxruntime and in true half."""
    model = bench.put(proto)
    half = bench.apply(Float16(keep_io_types=True, **options), model, samples=[{"x": x}])
    expected = bench.run(model, {"x": x})[0]
    scale = np.abs(expected).max()
    for found in (bench.run(half, {"x": x})[0], true_half(bench, half, {"x": x})):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance)
    return half


LAYER_NORM = """
    m = MatMul(x, w)  mean = ReduceMean<keepdims = 1>(m, axis)  d = Sub(m, mean)  s = Mul(d, d)
    v = ReduceMean<keepdims = 1>(s, axis)  e = Add(v, eps)  r = Sqrt(e)  y = Div(d, r)
"""

AXIS = np.array([1], np.int64)


@pytest.mark.parametrize(
    ("body", "scale", "weights", "kept"),
    [
        pytest.param("a = MatMul(x, w)  b = Mul(a, k)  c = MatMul(b, v)  y = Mul(c, j)", 1.0,
                     {"k": f(3e4), "j": f(1e-4), "v": W.T.copy()}, "reaches", id="activations of a million"),
        pytest.param(LAYER_NORM, 3e3, {"axis": AXIS, "eps": f(1e-5)}, "s reaches",
                     id="variance of 1e7"),
        pytest.param("y = LayerNormalization<axis = 1, epsilon = 1e-5>(x, g)", 3e3,
                     {"g": np.ones(64, np.float32)}, "squares", id="LayerNormalization on 1e4"),
        pytest.param("n = ReduceL2<keepdims = 1>(x, axis)  y = Div(x, n)", 100.0, {"axis": AXIS}, "squares",
                     id="norm"),
        pytest.param("m = MatMul(x, w)  e = Exp(m)  s = ReduceSum<keepdims = 1>(e, axis)  y = Div(e, s)", 8.0,
                     {"axis": AXIS}, "reaches", id="softmax by hand"),
        pytest.param("m = Mul(x, k)  p = Softplus(m)  n = MatMul(p, w) y = Mul(n, j)", 20.0,
                     {"k": f(3), "j": f(0.01)}, "exponential", id="softplus"),
        pytest.param("m = MatMul(x, w)  p = Pow(m, k)  q = Pow(p, j) y = MatMul(q, w)", 50.0,
                     {"k": f(4), "j": f(0.25)}, "reaches", id="power"),
    ],
)  # fmt: skip
def test_what_overflows_at_the_samples_stays_float32(bench, body, scale, weights, kept):
    """Found by running the float32 model; what it is for is the answer, and the reasons are told."""
    if "LayerNormalization" in body or "n = ReduceL2" in body:
        body = body.replace("y = ", "z = ") + "  y = MatMul(z, w)"

    half = convert_and_compare(bench, make(body, **weights), noise(scale=scale), 0.02)

    assert any(kept in why for why in bench.notes["kept_float32"].values())
    assert (
        summary.summarize(bench.store.path(half))["weights"]["dtypes"]["float16"]["elements"] >= 64
    )


def test_an_epsilon_that_half_cannot_hold_stays(bench):
    """1e-12 is zero in half, and a row of equal numbers would be divided by it."""
    body = LAYER_NORM.replace("m = MatMul(x, w)", "m = MatMul(z, w)").replace("y = Div", "q = Div")
    proto = make("z = Mul(x, k) " + body + " y = MatMul(q, w)", k=f(1), axis=AXIS, eps=f(1e-12))
    model = bench.put(proto)
    half = bench.apply(Float16(keep_io_types=True), model, samples=[{"x": noise()}])

    found = true_half(bench, half, {"x": np.zeros((2, 64), np.float32)})

    np.testing.assert_array_equal(found, 0)
    assert bench.notes["casts"] <= 5


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        pytest.param("c = Less(x, zero)  s = MatMul(x, w)  t = Where(c, low, s)  p = Softmax(t)  y = MatMul(p, w)",
                     {"low": f(np.finfo(np.float32).min)}, id="where"),
        pytest.param("c = Less(x, zero)  i = Cast<to = 1>(c)  m = Mul(i, low)  s = MatMul(x, w)  t = Add(s, m)"
                     "  p = Softmax(t)  y = MatMul(p, w)",
                     {"low": f(np.finfo(np.float32).min)}, id="product"),
        pytest.param("c = Less(x, zero)  i = Cast<to = 1>(c)  m = Mul(i, low)  s = MatMul(x, w)  t = Add(s, m)"
                     "  p = Softmax(t)  y = MatMul(p, w)", {"low": f(-1e9)}, id="product with a finite number"),
        pytest.param("c = Less(x, zero)  s = MatMul(x, w)  t = Where(c, low, s)  p = Softmax(t)  y = MatMul(p, w)",
                     {"low": f(-1e9)}, id="where with a finite number"),
        pytest.param("c = Less(x, zero)  s = MatMul(x, w)  t = Where(c, low, s)  p = Softmax(t)  y = MatMul(p, w)",
                     {"low": f(-np.inf)}, id="infinity"),
    ],
)  # fmt: skip
def test_masks_hide_what_they_did(bench, body, weights):
    """However large the number that hides; where a row is hidden whole, numbers come out as before."""
    half = convert_and_compare(bench, make(body, zero=f(0), **weights), noise())
    if np.isinf(weights["low"]):
        return
    hidden = -np.abs(noise(2))
    expected = true_half(bench, bench.put(make(body, zero=f(0), **weights)), {"x": hidden})

    np.testing.assert_allclose(true_half(bench, half, {"x": hidden}), expected, atol=0.01)
    assert np.isfinite(bench.run(half, {"x": hidden})[0]).all()


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        pytest.param("s = Shape(x)  b = Gather(s, i0)  r = Range(f0, f5000, f1)  c = Cos(r)  k = Slice(c, i4000, i4064)  m = MatMul(x, w)"
                     "  y = Mul(m, k)",
                     {"f0": f(0), "f5000": f(5000), "f1": f(1), "i0": np.array(0), "i4000": np.array([4000]),
                      "i4064": np.array([4064])}, id="angles of a range"),
        pytest.param("p = Constant<value_ints = [1, 60000, 69999]>()  q = Cast<to = 1>(p)  u = Unsqueeze(q, i1)"
                     "  v = Div(u, k)  m = MatMul(x, w) y = Add(m, v)",
                     {"i1": np.array([1]), "k": f(70000)}, id="positions to 70000"),
        pytest.param("p = Constant<value_ints = [2047, 2049, 4099]>()  q = Cast<to = 1>(p)  u = Unsqueeze(q, i1)"
                     "  v = Mul(u, k)  s = Sin(v)  m = MatMul(x, w) y = Add(m, s)",
                     {"i1": np.array([1]), "k": f(0.37)}, id="angles of positions"),
        pytest.param("m = MatMul(x, w)  a = Add(m, k)  c = Cast<to = 7>(a)  d = Cast<to = 1>(c)  y = Sub(d, k)",
                     {"k": f(5001)}, id="whole numbers"),
    ],
)  # fmt: skip
def test_whole_numbers_and_angles_keep_their_digits(bench, body, weights):
    """Half rounds 2049 to 2048, and knows angles beyond 16 to a hundredth."""
    tolerance = 0.3 if "k = Slice" not in body and "Cast<to = 7>" in body else 0.01
    convert_and_compare(bench, make(body, **weights), noise(), tolerance)
    assert bench.notes["kept_float32"]


BODIES = {
    "if": (
        ("r = ReduceSum<keepdims = 0>(x)  c = Greater(r, zero)"
        "  t = If(c) <then_branch = th () => (float[N, 64] a) { a = MatMul(x, w) },"
        "            else_branch = el () => (float[N, 64] b) { b = CumSum(x, one) }>"
        "  y = MatMul(t, w)"),
        {"zero": f(1e9), "one": np.array(1)},
    ),
    "loop": (
        ("t = Loop(n, yes, x) <body = it (int64 i, bool go, float[N, 64] s) => (bool again, float[N, 64] o)"
        " { again = Identity(go)  q = MatMul(s, w)  o = Tanh(q) }>  y = MatMul(t, w)"),
        {"n": np.array(3), "yes": np.array(True)},
    ),
    "loop that gathers": (
        ("z = Mul(x, k)  t, all = Loop(n, yes, z) <body = it (int64 i, bool go, float[N, 64] s)"
        " => (bool again, float[N, 64] o, float[N, 64] each)"
        " { again = Identity(go)  o = MatMul(s, w)  each = CumSum(o, one) }>"
        "  m = ReduceMean<keepdims = 0>(all, axis)  y = Add(m, t)"),
        {"n": np.array(3), "yes": np.array(True), "k": f(2), "one": np.array(1), "axis": np.array([0])},
    ),
    "scan": (
        ("i = ReduceMean<keepdims = 0>(x, axis)  l, y = Scan(i, x) <num_scan_inputs = 1,"
        " body = it (float[64] s, float[64] e) => (float[64] o, float[64] p)"
        " { a = Add(s, e)  u = Unsqueeze(a, axis)  m = MatMul(u, w)  o = Squeeze(m, axis)  p = Relu(o) }>"),
        {"axis": np.array([0])},
    ),
    "sequence": (
        ("a = MatMul(x, w)  s = SequenceConstruct(a, x)  b = SequenceAt(s, i)  c = ConcatFromSequence<axis = 0>(s)"
        "  r = ReduceMean<keepdims = 1>(c, axis)  d = Add(b, r)  y = MatMul(d, w)"),
        {"i": np.array(0), "axis": np.array([0])},
    ),
    "resize": (
        ('u = Unsqueeze(x, axis)  m = MatMul(u, w)  r = Resize<mode = "linear">(m, , scales)'
        "  q = Squeeze(r, axis)  y = Relu(q)"),
        {"axis": np.array([1]), "scales": f([1, 1, 2])},
    ),
    "clip": ("m = MatMul(x, w)  c = Clip(m, lo, hi)  y = MatMul(c, w)", {"lo": f(-0.5), "hi": f(3e38)}),
    "types": (
        ("d = Cast<to = 11>(x)  e = Add(d, d)  g = Cast<to = 1>(e)  m = MatMul(g, w)  i = Cast<to = 6>(m)"
        "  h = Cast<to = 10>(m)  j = Cast<to = 1>(h)  k = CastLike(i, j)  y = Add(j, k)"),
        {},
    ),
    "top": (
        "m = MatMul(x, w)  t, i = TopK(m, k)  h = Cast<to = 1>(i)  s = Mul(h, z)  y = Add(t, s)",
        {"k": np.array([64]), "z": f(0)},
    ),
    "constants": (
        ("k = Constant<value_float = 0.5>()  z = Shape(x)  c = ConstantOfShape<value = float[1] {2.0}>(z)"
        "  m = MatMul(x, w)  n = Mul(m, k)  o = Add(n, c)  y = Max(o, c, k)"),
        {},
    ),
    "fused": (
        ("m = com.microsoft.FusedMatMul<transB = 1>(x, w)  g = com.microsoft.QuickGelu(m)"
        "  s = com.microsoft.SkipLayerNormalization(g, x, ga)  y = MatMul(s, w)"),
        {"ga": np.ones(64, np.float32)},
    ),
    "window": (
        "h = HannWindow<output_datatype = 1>(n)  q = Mul(x, h)  y = MatMul(q, w)",
        {"n": np.array(64)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_kind_of_graph_loads_and_is_right(bench, name):
    """Branches, loops, sequences, casts, ports that have no half precision: nothing is blocked by hand."""
    body, weights = BODIES[name]
    proto = make(body, size="128" if name == "resize" else "64", **weights)
    if name == "types":
        # A cast to half that is the model's own.
        model = bench.put(proto)
        half = bench.apply(
            Float16(keep_io_types=True, check_fp16_ready=False), model, samples=[{"x": noise()}]
        )
        expected = bench.run(model, {"x": noise()})[0]
        np.testing.assert_allclose(bench.run(half, {"x": noise()})[0], expected, atol=1.1)
        return
    model = bench.put(proto)
    half = bench.apply(Float16(keep_io_types=True), model, samples=[{"x": noise()}])

    expected = bench.run(model, {"x": noise()})[0]
    found = bench.run(half, {"x": noise()})[0]

    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    weight = {v.name: v for v in load.read(bench.store.path(half)).graph.initializers.values()}["w"]
    assert weight.dtype.name == "FLOAT16"


@pytest.mark.parametrize("name", BODIES)
def test_casts_do_not_cancel(bench, name):
    """No cast takes what another has just cast, and none gives what it takes."""
    body, weights = BODIES[name]
    proto = make(body, size="128" if name == "resize" else "64", **weights)

    half = bench.apply(
        Float16(keep_io_types=True, check_fp16_ready=False),
        bench.put(proto),
        samples=[{"x": noise()}],
    )

    halves = {TensorProto.FLOAT, TensorProto.FLOAT16}
    model = onnx.load(bench.store.path(half), load_external_data=False)
    casts = {
        node.output[0]: helper.get_node_attr_value(node, "to")
        for node in model.graph.node
        if node.op_type == "Cast"
    }
    for node in model.graph.node:
        if node.op_type == "Cast" and casts[node.output[0]] in halves:
            assert casts.get(node.input[0]) not in halves


def test_buckets_stay_where_they_are(bench):
    """A logarithm that is cut to a whole number, as of relative positions: half would lead to the next bucket."""
    body = (
        "p = Constant<value_ints = [1, 5, 25, 125]>()  q = Cast<to = 1>(p)  l = Log(q)  d = Div(l, base)"
        "  c = Cast<to = 7>(d)  g = Gather(table, c)  m = MatMul(x, w)  y = Add(m, g)"
    )
    table = np.arange(256, dtype=np.float32).reshape(4, 64)
    proto = make(body, base=f(np.float32(np.log(5)) * np.float32(1 - 1e-6)), table=table)

    convert_and_compare(bench, proto, noise(4))

    assert set(bench.notes["kept_float32"]) >= {"Log_2", "Div_3"}


@pytest.mark.parametrize("axis", ["", "<axis = 1>"])
def test_a_row_that_is_masked_whole_stays_even(bench, axis):
    """Float32's lowest swallows a score, so that all count alike; half's does not where sums have more digits."""
    body = (
        "c = Less(x, zero)  m = Where(c, low, zero)  s = MatMul(x, w)  t = Add(s, m)"
        f"  p = Softmax{axis}(t)  y = MatMul(p, w)"
    )
    proto = make(body, low=f(np.finfo(np.float32).min), zero=f(0))
    x = noise()
    x[1] = -np.abs(x[1])

    convert_and_compare(bench, proto, x, 1e-3)

    assert "masked whole" in bench.notes["kept_float32"]["Softmax_4"]
    assert "cut_to_limit" not in bench.notes


def test_a_mask_that_leaves_something_of_each_row_is_half(bench):
    """Nothing stays float32 for a mask as all models have it."""
    body = (
        "c = Less(x, zero)  m = Where(c, low, zero)  s = MatMul(x, w)  t = Add(s, m)"
        "  p = Softmax(t)  y = MatMul(p, w)"
    )
    proto = make(body, low=f(np.finfo(np.float32).min), zero=f(0))

    convert_and_compare(bench, proto, noise())

    assert "kept_float32" not in bench.notes
    assert bench.notes["cut_to_limit"] == ["low"]
