"""8-bit integers, with and without data."""

import json
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorData, TensorsData

from onnxbuild.core.values import build, plain
from onnxbuild.errors import DataError, StageError
from onnxbuild.graph import load, save, summary
from onnxbuild.graph.prepare.spec import PreProcess
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.ranges import from_plain, to_plain
from onnxbuild.stages.quantize_static.spec import QuantizeStatic

TEXT = """
<ir_version: 8, opset_import: ["" : OPSET]>
g (float[batch, 1, 8, 8] x) => (float[batch, 10] y)
{
    c1 = Conv<kernel_shape=[3, 3]>(x, w1, b1)
    r1 = Relu(c1)
    c2 = Conv<kernel_shape=[3, 3]>(r1, w2)
    r2 = Relu(c2)
    flat = Flatten(r2)
    y = MatMul(flat, w3)
}
"""


def make(opset=17):
    """A small CNN whose channels differ in scale, so that one scale for all is visibly worse."""
    model = parser.parse_model(TEXT.replace("OPSET", str(opset)))
    generator = np.random.default_rng(0)
    for name, shape in (
        ("w1", (16, 1, 3, 3)),
        ("b1", (16,)),
        ("w2", (32, 16, 3, 3)),
        ("w3", (512, 10)),
    ):
        array = generator.standard_normal(shape).astype(np.float32)
        if len(shape) == 4:
            array *= np.logspace(-2, 0, shape[0], dtype=np.float32).reshape(-1, 1, 1, 1)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"layer{index}"
    onnx.checker.check_model(model)
    return model


def batches(count=6, size=3):
    generator = np.random.default_rng(1)
    return [
        {"x": generator.standard_normal((size, 1, 8, 8)).astype(np.float32)} for _ in range(count)
    ]


def labelled():
    return [{**item, "label": np.arange(3)} for item in batches()]


def worst(bench, artifact, model, cosine):
    return min(
        cosine(bench.run(artifact, item)[0], bench.run(model, item)[0]) for item in batches(4, 5)
    )


STATIC = {
    "QDQ": QuantizeStatic(data="d"),
    "QOperator": QuantizeStatic(data="d", quant_format="QOperator"),
    "entropy": QuantizeStatic(data="d", calibrate_method="entropy"),
    "percentile": QuantizeStatic(
        data="d", calibrate_method="percentile", extra_options={"CalibPercentile": 99.99}
    ),
    "moving average": QuantizeStatic(
        data="d", extra_options={"CalibMovingAverage": True, "CalibStridedMinMax": 2}
    ),
    "unprepared": QuantizeStatic(data="d", pre_process=False),
    "prepared so": QuantizeStatic(data="d", pre_process=PreProcess(skip_symbolic_shape=True)),
}
DYNAMIC = {
    "dynamic": QuantizeDynamic(),
    "dynamic, per tensor": QuantizeDynamic(per_channel=False, weight_type="QUInt8"),
    "dynamic, 7 bits": QuantizeDynamic(reduce_range=True, pre_process=False),
}


@pytest.mark.parametrize("opset", [10, 11, 13, 18, 21])
@pytest.mark.parametrize("stage", [pytest.param(v, id=k) for k, v in {**STATIC, **DYNAMIC}.items()])
def test_a_quantized_model_keeps_what_it_promised(bench, cosine, stage, opset):
    """Every weight is an integer; opset, names and symbolic dims stay; the numbers are near."""
    model = bench.put(make(opset))
    before = summary.summarize(bench.store.path(model))

    small = bench.apply(stage, model, bench.put_items(labelled()))

    after = summary.summarize(bench.store.path(small))
    for key in ("opset", "ir_version", "inputs", "outputs", "producer", "metadata"):
        assert after[key] == before[key], key
    assert bench.notes["quantized_weights"] == 3
    assert bench.notes["quantized_share"] == 1.0
    assert bench.notes["float_weights"] == {}
    assert small.size < 0.6 * model.size
    assert worst(bench, small, model, cosine) > (
        0.9 if "entropy" in str(stage) or "Moving" in str(stage) else 0.99
    )


def test_static_numbers_are_the_librarys_own(bench, tmp_path):
    """Ranges that went through JSON, item by item, give what onnxruntime gives in one call."""
    proto = make()
    model = bench.put(make())
    reference = tmp_path / "reference.onnx"

    class Reader:
        items = iter(batches())

        def get_next(self):
            return next(self.items, None)

    onnx.save(proto, tmp_path / "model.onnx")
    quantize_static(
        str(tmp_path / "model.onnx"), str(reference), Reader(), quant_format=QuantFormat.QDQ,
        per_channel=True, activation_type=QuantType.QUInt8, calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip

    small = bench.apply(
        QuantizeStatic(data="d", pre_process=False), model, bench.put_items(batches())
    )

    expected = bench.run(bench.put(onnx.load(reference)), batches()[0])[0]
    np.testing.assert_array_equal(bench.run(small, batches()[0])[0], expected)


@pytest.mark.parametrize("per_channel", [True, False])
def test_per_channel_is_a_scale_for_each_channel(bench, per_channel):
    """`per_channel` gives each output channel of a weight its own scale; without it there is one."""
    model, data = bench.put(make()), bench.put_items(batches())

    small = bench.apply(QuantizeStatic(data="d", per_channel=per_channel), model, data)

    weights = load.read(bench.store.path(small)).graph.initializers
    scales = {name: weights[f"{name}_scale"].const_value.size for name in ("w1", "w2", "w3")}
    assert scales == (
        {"w1": 16, "w2": 32, "w3": 10} if per_channel else {"w1": 1, "w2": 1, "w3": 1}
    )


def test_below_opset_13_qdq_has_one_scale_a_weight(bench):
    """Left out, `per_channel` is what the opset can say; asked for, it is an error with the way out."""
    model, data = bench.put(make(10)), bench.put_items(batches())

    bench.apply(QuantizeStatic(data="d"), model, data)
    noted = bench.notes["per_channel"]
    with pytest.raises(StageError, match="needs opset 13; this model has 10") as caught:
        bench.apply(QuantizeStatic(data="d", per_channel=True), model, data)

    assert noted is False
    assert "quant_format: QOperator" in caught.value.hint


def test_the_same_ranges_give_the_same_model(bench):
    """The quantizing step depends on the ranges, not on the data nor on the way to them."""
    model = bench.put(make())
    first, second = batches(), list(reversed(batches()))

    models = {
        bench.apply(QuantizeStatic(data="d"), model, bench.put_items(items)).digest
        for items in (first, second)
    }

    assert len(models) == 1
    quantize = next(step for step in bench.steps if "statically" in step.label)
    assert "data" not in plain(quantize.options)
    assert set(quantize.inputs) == {"model", "ranges"}


def test_weights_that_are_to_stay_float_in_the_file_count(bench):
    """`AddQDQPairToWeight` rounds them when the file is loaded, and that is what was asked."""
    stage = QuantizeStatic(data="d", extra_options={"AddQDQPairToWeight": True})

    bench.apply(stage, bench.put(make()), bench.put_items(labelled()))

    assert bench.notes["quantized_weights"] == 3
    assert set(bench.notes["float_weights"]) == {"w1", "w2", "w3"}
    assert bench.notes["quantized_share"] == 0


def test_a_graph_for_tensorrt_has_signed_integers_around_zero_and_float_biases(bench, cosine):
    """Its values are near, its weights integers, and each value that is quantized has a reader of its own."""
    model = bench.put(make())
    stage = QuantizeStatic(data="d", runtime="tensorrt")

    made = bench.apply(stage, model, bench.put_items(labelled()))

    graph = onnx.load(bench.store.path(made)).graph
    values = {
        tensor.name: numpy_helper.to_array(tensor, bench.store.root) for tensor in graph.initializer
    }
    pairs = [node for node in graph.node if node.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    readers = Counter(name for node in graph.node for name in node.input)
    assert {str(values[node.input[2]].dtype) for node in pairs} == {"int8"}
    assert not any(values[node.input[2]].any() for node in pairs)
    assert max(readers[node.output[0]] for node in pairs) == 1
    assert bench.notes["quantized_weights"] == 3
    assert worst(bench, made, model, cosine) > 0.99


def test_onnxruntimes_own_operators_take_16_bits_at_any_opset(bench, cosine):
    """`UseQDQContribOps` is how a model below opset 21 gets them."""
    model = bench.put(make(17))
    extra = {"UseQDQContribOps": True}
    stage = QuantizeStatic(data="d", activation_type="QUInt16", extra_options=extra)

    wide = bench.apply(stage, model, bench.put_items(labelled()))

    opsets = summary.summarize(bench.store.path(wide))["opsets"]
    assert opsets == {"": 17, "com.microsoft": 1}
    assert worst(bench, wide, model, cosine) > 0.99


def test_excluded_weights_are_listed(bench):
    """What stays float is counted and named, with why."""
    model = bench.put(make())

    bench.apply(QuantizeDynamic(nodes_to_exclude=("layer2",)), model)
    excluded = dict(bench.notes["float_weights"])
    bench.apply(QuantizeDynamic(op_types_to_quantize=("MatMul",)), model)

    assert excluded == {"w2": "Conv: left by onnxruntime or excluded"}
    assert bench.notes["float_weights"] == {
        "w1": "Conv: not among the quantized operators",
        "w2": "Conv: not among the quantized operators",
    }


@pytest.mark.parametrize(
    ("stage", "opset", "message", "hint"),
    [
        pytest.param(QuantizeDynamic(op_types_to_quantize=("Matmul",)), 17, "'Matmul'", "'MatMul'", id="operator"),
        pytest.param(QuantizeDynamic(nodes_to_exclude=("layer9",)), 17, "'layer9'", "layer", id="node"),
        pytest.param(QuantizeDynamic(extra_options={"WeightSymetric": 1}), 17, "WeightSymetric", "'WeightSymmetric'", id="extra"),
        pytest.param(QuantizeStatic(data="d", runtime="tensorrt", quant_format="QOperator"), 17, "TensorRT", "quant_format: QDQ", id="runtime"),
        pytest.param(QuantizeDynamic(op_types_to_quantize=("LSTM",)), 17, "no weight became integer", "LSTM", id="nothing"),
        pytest.param(QuantizeDynamic(), 9, "needs opset 10; this model has 9", "export.opset", id="opset 9"),
        pytest.param(QuantizeStatic(data="d"), 9, "needs opset 10", "export.opset", id="static at opset 9"),
        pytest.param(QuantizeStatic(data="d", weight_type="QInt16"), 17, "QInt16 needs opset 21", "QInt8", id="16 bits"),
        pytest.param(QuantizeStatic(data="d", activation_type="QInt8", weight_type="QUInt8"), 17, "does not go with", "QInt8", id="types"),
        pytest.param(QuantizeStatic(data="d", calibration_providers=("CPUExecutionProvidr",)), 17, "CPUExecutionProvidr", "'CPUExecutionProvider'", id="provider"),
        pytest.param(QuantizeStatic(data="d", extra_options={"SmoothQuant": True}), 17, "SmoothQuant", "leave", id="smooth"),
        pytest.param(QuantizeStatic(data="d", extra_options={"CalibPercentil": 9}), 17, "CalibPercentil", "'CalibPercentile'", id="static extra"),
    ],
)  # fmt: skip
def test_wrong_options_are_explained(bench, stage, opset, message, hint):
    """What the library would take in silence, or lift the opset for, is an error with a hint."""
    model = bench.put(make(opset))

    with pytest.raises(StageError, match=message) as caught:
        bench.apply(stage, model, bench.put_items(batches()))

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("items", "message", "hint"),
    [
        pytest.param([], "no item", "data entry", id="empty"),
        pytest.param(
            [{"X": np.zeros((1, 1, 8, 8), np.float32)}], "item 0 .* no 'x'", "has: X", id="name"
        ),
        pytest.param(
            [{"x": np.zeros((1, 8, 8), np.float32)}], "shape", "x[None]", id="no batch axis"
        ),
        pytest.param(
            [{"x": np.zeros((1, 1, 9, 8), np.float32)}], "shape", "axis 2", id="fixed axis"
        ),
        pytest.param([{"x": np.full((1, 1, 8, 8), np.nan, np.float32)}], "NaN", "", id="NaN"),
        pytest.param([{"x": np.zeros((1, 1, 8, 8), np.complex64)}], "complex64", "", id="dtype"),
    ],
)
def test_data_that_do_not_fit_are_explained(bench, items, message, hint):
    """Missing inputs, a missing batch axis, other sizes and types are errors that name the item."""
    model = bench.put(make())

    with pytest.raises(DataError, match=message) as caught:
        bench.apply(QuantizeStatic(data="d"), model, bench.put_items(items))

    assert hint in caught.value.hint


def test_activations_that_are_not_finite_are_named(bench):
    """Overflow in the model ends in an error that names the activation, not in a broken model."""
    model = bench.put(make())
    items = [{"x": np.full((1, 1, 8, 8), 3e38, dtype=np.float32)}]

    with pytest.raises(StageError, match="not finite"):
        bench.apply(QuantizeStatic(data="d"), model, bench.put_items(items))


def test_ranges_go_through_json_without_loss():
    """Each number comes back bit for bit, as JSON text too."""
    lowest, highest = np.array(-1 / 3, dtype=np.float32), np.array([1e-45], dtype=np.float32)
    ranges = TensorsData(
        CalibrationMethod.MinMax, {"t": TensorData(lowest=lowest, highest=highest)}
    )

    back = from_plain(json.loads(json.dumps(to_plain(ranges))))

    assert back.calibration_method is CalibrationMethod.MinMax
    assert back["t"].lowest.tobytes() == lowest.tobytes()
    assert back["t"].highest.tobytes() == highest.tobytes()
    assert back["t"].lowest.dtype == np.float32


def test_both_stages_share_the_preparation(bench):
    """The same preparation has the same options and inputs, so that the engine runs it once."""
    model, data = bench.put(make()), bench.put_items(batches())

    bench.apply(QuantizeDynamic(), model)
    bench.apply(QuantizeStatic(data="d"), model, data)

    prepared = [step for step in bench.steps if step.label == "prepare for quantization"]
    assert len(prepared) == 2
    assert len({(step.run, str(plain(step.options)), step.machine) for step in prepared}) == 1


def test_options_of_the_quantizer_do_not_reach_the_ranges(bench):
    """Changing how weights are quantized observes no data again; observing depends on the processor."""
    model, data = bench.put(make()), bench.put_items(batches())

    for symmetric in (True, False):
        stage = QuantizeStatic(data="d", extra_options={"WeightSymmetric": symmetric})
        bench.apply(stage, model, data)

    observing = [step for step in bench.steps if "observe" in step.label]
    assert plain(observing[0].options) == plain(observing[1].options)
    assert [step.machine for step in observing] == [True, True]


def test_options_are_read_back_from_plain_values():
    """A worker builds the same options from JSON, preparation included."""
    stage = QuantizeStatic(data="d", pre_process=PreProcess(auto_merge=True), per_channel=False)

    assert build(QuantizeStatic, json.loads(json.dumps(plain(stage)))) == stage


def test_nothing_is_left_beside_the_graphs(bench):
    """What the libraries write beside their input is gone afterwards."""
    import os

    model, data = bench.put(make()), bench.put_items(batches())

    bench.apply(QuantizeStatic(data="d"), model, data)
    bench.apply(QuantizeDynamic(), model)

    assert [name for name in os.listdir(bench.store.root) if name.startswith("tmp-")] == []


def test_embeddings_and_matmuls_of_a_subgraph_stay_valid(bench):
    """A weight inside a branch becomes integers as well, and the model still runs."""
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["flat", "inner"], ["then_y"])],
        "then",
        [],
        [helper.make_tensor_value_info("then_y", 1, ["batch", 10])],
        [numpy_helper.from_array(np.ones((512, 10), np.float32), "inner")],
    )
    other = helper.make_graph(
        [helper.make_node("MatMul", ["flat", "w3"], ["else_y"])],
        "else",
        [],
        [helper.make_tensor_value_info("else_y", 1, ["batch", 10])],
    )
    proto = make()
    del proto.graph.node[-1]
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    proto.graph.node.append(
        helper.make_node("If", ["flag"], ["y"], name="if", then_branch=inner, else_branch=other)
    )
    model = save.put(proto, bench.store)

    small = bench.apply(QuantizeDynamic(pre_process=False), model)

    bench.run(small, batches()[0])
    assert bench.notes["float_weights"] == {}
    assert bench.notes["quantized_weights"] == 4
    assert load.read(bench.store.path(small)).graph.outputs[0].name == "y"
