"""What the quantizing stages do of themselves, by the kind of network."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxbuild.errors import StageError
from onnxbuild.graph.architecture import find_kind
from onnxbuild.graph.load import from_proto, read
from onnxbuild.graph.prepare.spec import PreProcess
from onnxbuild.graph.quantization import account
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic
from tests.stages.networks import ids, transformer

PLAIN = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 3, 8, 8] x) => (float[batch, m] y)
{ BODY }
"""


def graph(body, **shapes):
    model = parser.parse_model(PLAIN.replace("BODY", body))
    for name, shape in shapes.items():
        array = np.zeros(shape, dtype=np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(model, "")


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        pytest.param(from_proto(transformer(), ""), "transformer", id="attention"),
        pytest.param(
            graph("c = Conv(x, w) f = Flatten(c) y = MatMul(f, m)", w=(64, 3, 3, 3), m=(64, 10)),
            "convolutional",
            id="convolutions",
        ),
        pytest.param(
            graph("f = Flatten(x) y = MatMul(f, m)", m=(192, 10)), "dense", id="products alone"
        ),
        pytest.param(
            graph(
                "f = Flatten(x) n = LayerNormalization(f, g) y = MatMul(n, m)", g=(192,), m=(192, 10)
            ),
            "transformer",
            id="mixer",
        ),
        pytest.param(
            graph(
                "f = Flatten(x) q = Mul(f, f) m = ReduceMean<axes=[-1]>(q) d = Div(f, m) y = MatMul(d, w)",
                w=(192, 10),
            ),
            "transformer",
            id="root mean square written out",
        ),
        pytest.param(
            graph(
                "c = Conv(x, w) f = Flatten(c) n = LayerNormalization(f, g) y = MatMul(n, m)",
                w=(999, 3, 3, 3), g=(9,), m=(9, 10),
            ),
            "convolutional",
            id="normalized convolutions",
        ),
    ],
)  # fmt: skip
def test_the_kind_is_read_from_the_graph(model, kind):
    """By attention, normalizations and where the weights are."""
    assert find_kind(model) == kind


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize(
    ("stage", "least"),
    [
        pytest.param(QuantizeDynamic(), 0.999, id="dynamic"),
        pytest.param(QuantizeStatic(data="d"), 0.995, id="static"),
    ],
)
def test_of_a_transformer_products_and_tables_are_quantized(bench, cosine, stage, least, opset):
    """Without a word in the recipe every weight becomes integers, and the numbers stay."""
    model = bench.put(transformer(opset))
    data = bench.put_items([ids(seed=seed) for seed in range(20)])

    small = bench.apply(stage, model, data)

    assert bench.notes["architecture"] == "transformer"
    assert bench.notes["quantized_weights"] == 7
    assert bench.notes["float_weights"] == {}
    x = ids(3, 7, seed=99)
    assert cosine(bench.run(small, x)[0], bench.run(model, x)[0]) > least


def test_a_table_has_a_scale_for_each_row(bench):
    """A rare word keeps its numbers beside a frequent one that is ten thousand times as large."""
    model = bench.put(transformer())

    small = bench.apply(QuantizeDynamic(op_types_to_quantize=("Gather",)), model)

    assert bench.notes["quantized_weights"] == 1
    graph = read(bench.store.path(small)).graph
    assert graph.initializers["table_rows_quantized"].const_value.dtype.name == "INT8"
    assert graph.initializers["table_rows_quantized_scale"].const_value.shape.numpy() == (100, 1)
    rare, exact = ({"ids": np.zeros((1, 4), np.int64)},) * 2
    got, wanted = bench.run(small, rare)[0], bench.run(model, exact)[0]
    assert np.abs(got - wanted).max() < 0.02 * np.abs(wanted).max()


def test_a_table_that_floats_are_needed_of_stays(bench):
    """Stored twice it would be larger: the reason is told."""
    proto = transformer()
    for op_type, inputs, name in (("ReduceMax", ["y"], "m"), ("Mul", ["table", "m"], "z")):
        attributes = {"keepdims": 0} if name == "m" else {}
        proto.graph.node.append(onnx.helper.make_node(op_type, inputs, [name], name, **attributes))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, None))

    bench.apply(QuantizeDynamic(), bench.put(proto))

    assert bench.notes["float_weights"]["table"].endswith("shared with Mul, which keeps it")


def test_nodes_are_chosen_by_module(bench):
    """What a recipe excludes by the path of a module stays float, a Gemm too."""
    proto = transformer()
    for node in proto.graph.node:
        if node.output[0] == "d":
            node.name = "decoder.mlp.2/MatMul"
    model = bench.put(proto)

    bench.apply(QuantizeDynamic(nodes_to_exclude=("decoder.mlp",)), model)
    left = set(bench.notes["float_weights"])
    with pytest.raises(StageError, match=r"decoder\.mpl") as caught:
        bench.apply(QuantizeDynamic(nodes_to_exclude=("decoder.mpl",)), model)

    assert left == {"w2"}
    assert "decoder.mlp" in caught.value.hint


def test_an_excluded_gemm_stays_float(bench):
    """The library turns a Gemm into a MatMul with another name before it looks at names."""
    text = PLAIN.replace("BODY", "f = Flatten(x) h = Gemm<transB=1>(f, w, b) y = MatMul(h, m)")
    proto = parser.parse_model(text)
    for name, shape in (("w", (64, 192)), ("b", (64,)), ("m", (64, 10))):
        array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in proto.graph.node:
        node.name = f"n_{node.output[0]}"

    bench.apply(QuantizeDynamic(nodes_to_exclude=("n_h",)), bench.put(proto))

    assert set(bench.notes["float_weights"]) == {"w"}


def test_weights_alone_become_integers_where_that_is_asked(bench, cosine):
    """`nodes_to_weight_only` keeps the product in floats, and the weight small."""
    model = bench.put(transformer())

    small = bench.apply(QuantizeDynamic(nodes_to_weight_only=("layer.d",)), model)

    assert bench.notes["quantized_weights"] == 7
    operators = [node.op_type for node in read(bench.store.path(small)).graph]
    assert operators.count("MatMulNBits") == 1
    assert cosine(bench.run(small, ids())[0], bench.run(model, ids())[0]) > 0.999


def test_a_large_row_costs_the_others_nothing_where_weights_alone_are_integers(bench):
    """Each row of the activations has scales of its own, where one for all loses the small rows."""
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[rows, 64] x) => (float[rows, 32] y) { y = MatMul(x, w) }'
    )
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((64, 32)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    proto.graph.node[0].name = "hard"
    model = bench.put(proto)
    x = generator.standard_normal((4, 64)).astype(np.float32)
    x[3] *= 1000

    off = {}
    for chosen in ((), ("hard",)):
        small = bench.apply(QuantizeDynamic(nodes_to_weight_only=chosen), model)
        ours, exact = bench.run(small, {"x": x})[0][:3], (x @ weight)[:3]
        off[chosen] = np.abs(ours - exact).max() / np.abs(exact).max()

    assert off[()] > 0.2
    assert off["hard",] < 0.02


def test_operators_that_onnx_does_not_know_do_not_break_the_preparation(bench, cosine):
    """A fused graph without the import of its operators, behind which no type is known, is quantized."""
    proto = transformer()
    for node in proto.graph.node:
        if node.output[0] == "h":
            node.op_type, node.domain = "Gelu", "com.microsoft"
            node.name = ""
    model = bench.put(proto)

    alone = PreProcess(skip_symbolic_shape=True, skip_optimization=True)
    for prepared in (True, alone):
        small = bench.apply(QuantizeDynamic(pre_process=prepared), model)

        assert bench.notes["quantized_weights"] == 7
        assert cosine(bench.run(small, ids())[0], bench.run(model, ids())[0]) > 0.999
    assert bench.notes["types_by_onnxruntime"] > 0


CONTROL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 64] x, int64 n) => (float[batch, 64] y)
{
    h = MatMul(x, w1)
    zero = Constant<value_int=0>()
    pos = Greater(n, zero)
    i = If (pos) <
        then_branch = t () => (float[batch, 64] a) { a = MatMul(h, w2) },
        else_branch = e () => (float[batch, 64] b) { b = Identity(h) }
    >
    one = Constant<value_int=1>()
    cond = Cast<to=9>(one)
    y = Loop (n, cond, i) <
        body = l (int64 k, bool c, float[batch, 64] s) => (bool c2, float[batch, 64] s2)
        { c2 = Identity(c) m = MatMul(s, w3) s2 = Tanh(m) }
    >
}
"""


def test_loops_and_branches_are_quantized_or_listed(bench, cosine):
    """Dynamically they become integers; statically they have no ranges, and the reason is told."""
    proto = parser.parse_model(CONTROL)
    generator = np.random.default_rng(0)
    for name in ("w1", "w2", "w3"):
        array = generator.standard_normal((64, 64)).astype(np.float32) / 8
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    model = bench.put(proto)
    x = {"x": generator.standard_normal((3, 64)).astype(np.float32), "n": np.array(2)}

    small = bench.apply(QuantizeDynamic(), model)
    counts = [bench.notes["quantized_weights"]]
    bench.apply(QuantizeStatic(data="d"), model, bench.put_items([x, x]))
    counts.append(bench.notes["quantized_weights"])

    assert counts == [3, 1]
    assert set(bench.notes["float_weights"].values()) == {"MatMul: inside a loop or a branch"}
    assert cosine(bench.run(small, x)[0], bench.run(model, x)[0]) > 0.999


def test_weights_that_are_all_in_a_loop_are_told_apart():
    """The message says that they are inside of it, not that nothing is quantized by that operator."""
    text = CONTROL.replace("h = MatMul(x, w1)", "h = Identity(x)")
    proto = parser.parse_model(text.replace("MatMul(h, w2)", "Identity(h)"))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((64, 64), np.float32), "w3"))
    model = from_proto(proto, "")

    with pytest.raises(StageError, match="those of MatMul are inside a loop or a branch"):
        account(model, model, ["MatMul"])
