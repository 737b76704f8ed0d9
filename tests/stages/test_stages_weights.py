"""Weights as blocks of 4 or 8 bits."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper, parser

from onnxbuild.errors import StageError
from onnxbuild.graph.blockwise import Blocks, quantize_blocks
from onnxbuild.graph.load import read
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.quantize_weights.spec import QuantizeWeights
from tests.stages.networks import ids, transformer

TIED = """
<ir_version: 8, opset_import: ["" : 17]>
g (int64[batch, sequence] ids) => (float[batch, sequence, 200] y)
{
    x = Gather<axis=0>(table, ids)
    m = MatMul(x, w)
    f = Reshape(m, flat)
    h = Gemm<transB=1>(f, v, b)
    t = Transpose<perm=[1, 0]>(table)
    p = MatMul(h, t)
    y = Reshape(p, shape)
}
"""


def language_model():
    """A table that is looked up by row, and multiplied with by column; a Gemm with a bias."""
    model = parser.parse_model(TIED)
    generator = np.random.default_rng(0)
    for name, shape in {"table": (200, 72), "w": (72, 72), "v": (72, 72), "b": (72,)}.items():
        array = generator.standard_normal(shape).astype(np.float32) / 8
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for name, values in (("flat", [-1, 72]), ("shape", [1, -1, 200])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    for node in model.graph.node:
        node.name = f"model.{node.output[0]}/{node.op_type}"
    onnx.checker.check_model(model)
    return model


def test_weights_of_functions_become_integers(bench, cosine):
    """A function's body is put in place of its calls, where the products are seen."""
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    g (float[batch, 64] x) => (float[batch, 64] y) { a = own.f(x, w)  y = own.f(a, w) }
    <domain: "own", opset_import: ["" : 17]> f (x, w) => (y) { m = MatMul(x, w)  y = Relu(m) }"""
    model = parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    given = bench.put(model)

    small = bench.apply(QuantizeWeights(bits=8), given)

    assert bench.notes["float_weights"] == {}
    x = {"x": weight[:2]}
    assert cosine(bench.run(small, x)[0], bench.run(given, x)[0]) > 0.999


def test_weights_that_are_inputs_too_become_integers(bench, cosine):
    """What nothing takes any more would stay, in floats; and what has no value any more would be asked for."""
    model = language_model()
    for tensor in model.graph.initializer:
        known = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        model.graph.input.append(known)
    given = bench.put(model)

    small = bench.apply(QuantizeWeights(bits=8), given)

    assert bench.notes["float_weights"] == {}
    assert small.size < 0.6 * given.size
    assert cosine(bench.run(small, ids())[0], bench.run(given, ids())[0]) > 0.999


@pytest.mark.parametrize(
    ("stage", "least", "share"),
    [
        pytest.param(QuantizeWeights(bits=8), 0.9999, 0.6, id="8 bits"),
        pytest.param(QuantizeWeights(bits=8, symmetric=True), 0.9999, 0.6, id="8, symmetric"),
        pytest.param(QuantizeWeights(block_size=16), 0.99, 0.5, id="4 bits"),
        pytest.param(QuantizeWeights(symmetric=True), 0.98, 0.5, id="4, symmetric"),
        pytest.param(QuantizeWeights(accuracy_level=4), 0.98, 0.5, id="4, in integers"),
        pytest.param(QuantizeWeights(bits=8, block_size=256), 0.9999, 0.6, id="larger than sums"),
    ],
)  # fmt: skip
def test_every_weight_becomes_integers(bench, cosine, stage, least, share):
    """Tied, transposed, and of a Gemm; the floats are gone from the file; the numbers are near."""
    model = bench.put(language_model())

    small = bench.apply(stage, model)

    assert bench.notes["quantized_weights"] == 3
    assert bench.notes["float_weights"] == {}
    graph = read(bench.store.path(small)).graph
    assert not {"table", "w", "v"} & set(graph.initializers)
    assert [node.op_type for node in graph].count("MatMulNBits") == 3
    assert small.size < share * model.size
    x = ids(1, 9)
    assert cosine(bench.run(small, x)[0], bench.run(model, x)[0]) > least


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("summed", [32, 40, 100])
def test_blocks_mean_what_the_runtime_reads(bits, symmetric, summed):
    """No value is further from the original than half a step of its block, whatever is left of the last one."""
    generator = np.random.default_rng(summed)
    weight = generator.standard_normal((5, summed)).astype(np.float32)
    weight[2] = 0
    blocks = Blocks(bits=bits, block_size=32, symmetric=symmetric)
    packed, scales, zeros = quantize_blocks(weight, blocks)
    extra = [] if zeros is None else [("zeros", zeros.reshape(-1))]
    constants = [("b", packed), ("scales", scales.reshape(-1)), *extra]
    node = onnx.helper.make_node(
        "MatMulNBits", ["a", *(name for name, _ in constants)], ["y"], domain="com.microsoft",
        K=summed, N=5, bits=bits, block_size=32,
    )  # fmt: skip
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [value("a", 1, [summed, summed])], [value("y", 1, [summed, 5])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    unpacked = session.run(None, {"a": np.eye(summed, dtype=np.float32)})[0].T

    steps = np.repeat(np.abs(scales), 32, axis=1)[:, :summed]
    # The largest positive value of a symmetric block may be a whole step off; with 4 bits, what is cut off.
    most = 2.5 if bits == 4 else 1.01 if symmetric else 0.51
    assert (np.abs(unpacked - weight) <= most * steps + 1e-6).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_blocks_of_4_bits_are_nearer_than_plain_rounding(symmetric):
    """No block has more squared error than all of its range in even steps gives, and all together have less."""
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((64, 512)).astype(np.float32)
    blocks = Blocks(bits=4, block_size=32, symmetric=symmetric)

    packed, scales, zeros = quantize_blocks(weight, blocks)

    integers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(64, 16, 32).astype(np.float32)
    points = np.full((64, 16), 8)
    if zeros is not None:
        points = np.stack([zeros & 15, zeros >> 4], axis=-1).reshape(64, 16)
    floats = weight.reshape(64, 16, 32)
    ours = np.square((integers - points[..., None]) * scales[..., None] - floats).sum(axis=2)
    low, high = floats.min(axis=2, keepdims=True), floats.max(axis=2, keepdims=True)
    if symmetric:
        step = np.where(-low >= high, low, high) / -8
        rounded = np.clip(np.rint(floats / step), -8, 7) * step
    else:
        step = (high - low) / 15
        zero = np.rint(-low / step)
        rounded = (np.clip(np.rint(floats / step) + zero, 0, 15) - zero) * step
    plain = np.square(rounded - floats).sum(axis=2)
    assert (ours <= plain * 1.0001).all()
    assert ours.sum() < 0.97 * plain.sum()


def test_what_is_excluded_stays_as_it_is(bench):
    """By glob or module, with the reason; what other nodes share stays for those alone."""
    model = bench.put(language_model())

    bench.apply(QuantizeWeights(nodes_to_exclude=("model.h", "*.m/*")), model)

    assert bench.notes["quantized_weights"] == 1
    assert bench.notes["float_weights"] == {"w": "MatMul: excluded", "v": "Gemm: excluded"}


def test_weights_are_not_quantized_twice(bench):
    """The order to take is told."""
    small = bench.apply(QuantizeWeights(), bench.put(transformer()))

    with pytest.raises(StageError, match="quantized already"):
        bench.apply(QuantizeWeights(), small)


def test_half_precision_before(bench, cosine):
    """Scales are in half then, and what is not a matrix product too."""
    model = bench.put(transformer())
    half = bench.apply(Float16(keep_io_types=True), model)

    small = bench.apply(QuantizeWeights(bits=8, tables=False), half)

    assert bench.notes["quantized_weights"] == 6
    assert cosine(bench.run(small, ids())[0], bench.run(model, ids())[0]) > 0.999
