"""Stages that start from what other stages made, in any order."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxbuild.errors import StageError
from onnxbuild.graph import summary
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.onnxruntime.spec import OnnxRuntime
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic

TEXT = """
<ir_version: 10, opset_import: ["" : OPSET]>
g (float[batch, 3, 8, 8] x) => (float[batch, 10] y)
{
    c = Conv<kernel_shape=[3, 3]>(x, w1, b1)
    r = Relu(c)
    p = GlobalAveragePool(r)
    flat = Flatten(p)
    h = Gemm(flat, w2, b2)
    n = LayerNormalization(h, scale, bias)
    y = MatMul(n, w3)
}
"""
SHAPES = {
    "w1": (64, 3, 3, 3),
    "b1": (64,),
    "w2": (64, 64),
    "b2": (64,),
    "scale": (64,),
    "bias": (64,),
    "w3": (64, 10),
}


def make(opset=21):
    model = parser.parse_model(TEXT.replace("OPSET", str(opset)))
    generator = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        array = generator.standard_normal(shape).astype(np.float32) * np.float32(0.2)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"layer{index}"
    onnx.checker.check_model(model)
    return model


def items(count=4):
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((2, 3, 8, 8)).astype(np.float32)} for _ in range(count)]


def dtypes(bench, artifact):
    return summary.summarize(bench.store.path(artifact))["weights"]["dtypes"]


def test_half_precision_after_dynamic_integers(bench, cosine):
    """What is not quantized becomes half; scales and sums of integers, which half cannot hold, do not."""
    model = bench.put(make())
    small = bench.apply(QuantizeDynamic(op_types_to_quantize=("MatMul",)), model)

    half = bench.apply(Float16(keep_io_types=True), small)

    found = dtypes(bench, half)
    assert found["float16"]["tensors"] >= 2
    assert found["int8"]["tensors"] >= 2
    x = items()[0]
    assert cosine(bench.run(half, x)[0], bench.run(small, x)[0]) > 0.9999


def test_half_precision_after_static_integers(bench):
    """What stands between quantizing nodes, which runtimes join, stays float32 and is listed."""
    model = bench.put(make())
    small = bench.apply(
        QuantizeStatic(data="d", op_types_to_quantize=("Conv", "Relu")),
        model,
        bench.put_items(items()),
    )

    half = bench.apply(Float16(keep_io_types=True), small)

    assert dtypes(bench, half)["float16"]["tensors"] >= 4
    beside = bench.notes["kept_float32"]
    assert beside["layer0"] == "takes or gives what is quantized"


def test_static_integers_after_half_precision(bench, cosine):
    """From opset 19 on, the nodes around the integers are in half precision, and stay so."""
    model = bench.put(make(21))
    half = bench.apply(Float16(keep_io_types=True), model)

    small = bench.apply(QuantizeStatic(data="d"), half, bench.put_items(items()))

    found = dtypes(bench, small)
    assert found["int8"]["tensors"] >= 3
    assert "float" not in found
    assert "float32" in bench.notes["optimization"]
    x = items()[0]
    assert cosine(bench.run(small, x)[0], bench.run(model, x)[0]) > 0.98


@pytest.mark.parametrize(
    ("stage", "opset", "message"),
    [
        pytest.param(QuantizeDynamic(), 21, "half precision", id="dynamic"),
        pytest.param(QuantizeStatic(data="d"), 17, "below opset 19", id="static"),
        pytest.param(
            QuantizeStatic(data="d", quant_format="QOperator"), 21, "half precision", id="QOperator"
        ),
        pytest.param(OnnxRuntime(), 21, "no kernels in half precision for Conv", id="onnxruntime"),
    ],
)
def test_what_half_precision_cannot_become_is_explained(bench, stage, opset, message):
    """Where the library would give float32, nothing, or what does not load, the order to take is named."""
    half = bench.apply(Float16(keep_io_types=True), bench.put(make(opset)))

    with pytest.raises(StageError, match=message) as caught:
        bench.apply(stage, half, bench.put_items(items()))

    assert "float16" in caught.value.hint


def test_integers_of_integers_are_refused(bench):
    """A second static quantization would define every scale twice."""
    data = bench.put_items(items())
    small = bench.apply(QuantizeStatic(data="d"), bench.put(make()), data)

    with pytest.raises(StageError, match="quantized already") as caught:
        bench.apply(QuantizeStatic(data="d"), small, data)

    assert "dynamically after" in caught.value.hint


def test_dynamic_integers_after_static_ones(bench):
    """Convolutions statically, the rest dynamically."""
    data = bench.put_items(items())
    convolutions = QuantizeStatic(data="d", op_types_to_quantize=("Conv",))
    small = bench.apply(convolutions, bench.put(make()), data)
    assert bench.notes["quantized_weights"] == 1

    bench.apply(QuantizeDynamic(op_types_to_quantize=("MatMul",)), small)

    assert bench.notes["quantized_weights"] == 2


def test_what_onnxruntime_fused_is_not_quantized(bench):
    """Quantization does not know fused operators; the message names them and the order to take."""
    fused = bench.apply(OnnxRuntime(level="extended"), bench.put(make()))

    with pytest.raises(StageError) as caught:
        bench.apply(QuantizeStatic(data="d"), fused, bench.put_items(items()))

    assert "FusedConv" in str(caught.value)
    assert "fuse after" in caught.value.hint


def test_what_is_laid_out_for_a_processor_is_not_quantized(bench):
    """Level `all` gives operators that exist on this class of processor only."""
    laid_out = bench.apply(OnnxRuntime(level="all"), bench.put(make()))
    if "com.microsoft.nchwc" not in str(summary.summarize(bench.store.path(laid_out))):
        pytest.skip("this processor has no layout of its own")

    with pytest.raises(StageError, match="laid out for this class of processor"):
        bench.apply(QuantizeStatic(data="d"), laid_out, bench.put_items(items()))


def test_a_gemm_that_only_became_a_matmul_is_not_counted(bench):
    """The dynamic quantizer turns Gemm into MatMul in any case; that alone makes no integers."""
    model = bench.put(make())

    with pytest.raises(StageError, match="no weight became integer"):
        bench.apply(QuantizeDynamic(op_types_to_quantize=("LSTM",)), model)


def test_an_operator_to_keep_that_exists_nowhere_is_named(bench):
    """A misspelt operator in `op_block_list` would change nothing; one that this model lacks is fine."""
    model = bench.put(make())

    bench.apply(Float16(op_block_list=("FusedConv", "LSTM")), model)
    with pytest.raises(StageError, match="'Convv'") as caught:
        bench.apply(Float16(op_block_list=("Convv",)), model)

    assert "'Conv'" in caught.value.hint
