"""Products with stacks of matrices, such as the experts of a mixture."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxbuild.graph import load
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic

TEXT = """
<ir_version: 10, opset_import: ["" : 17]>
g (float[batch, 32] x) => (float[4, batch, 24] y, float[batch, 8] z)
{
    one = MatMul(x, experts)
    act = Relu(x)
    two = MatMul(act, experts)
    y = Add(one, two)
    z = MatMul(x, flat)
}
"""


def make():
    """Two products with the same four matrices, whose sizes are far apart, and one with a single matrix."""
    model = parser.parse_model(TEXT)
    generator = np.random.default_rng(0)
    for name, shape in {"experts": (4, 32, 24), "flat": (32, 8)}.items():
        array = generator.standard_normal(shape).astype(np.float32)
        if len(shape) == 3:
            array *= np.float32([0.001, 0.1, 1, 10]).reshape(4, 1, 1)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for index, node in enumerate(model.graph.node):
        node.name = f"layer{index}"
    onnx.checker.check_model(model)
    return model


def items(count=4):
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((6, 32)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(QuantizeDynamic(), id="signed"),
        pytest.param(QuantizeDynamic(weight_type="QUInt8"), id="unsigned"),
        pytest.param(QuantizeDynamic(reduce_range=True), id="seven bits"),
        pytest.param(QuantizeDynamic(extra_options={"WeightSymmetric": False}), id="not symmetric"),
    ],
)
def test_each_matrix_of_a_stack_has_scales_of_its_own(bench, cosine, stage):
    """What runs, and is right for the small matrices too; the library's own file fails when it runs."""
    model = bench.put(make())

    small = bench.apply(stage, model)

    assert bench.notes["quantized_weights"] == 2
    assert bench.notes["float_weights"] == {}
    expected, found = bench.run(model, items()[0]), bench.run(small, items()[0])
    assert all(cosine(found[0][i], expected[0][i]) > 0.999 for i in range(4))
    assert cosine(found[1], expected[1]) > 0.999
    names = set(load.read(bench.store.path(small)).graph.initializers)
    assert not any(name.startswith("experts") and "stack" not in name for name in names)


@pytest.mark.parametrize("quant_format", ["QDQ", "QOperator"])
def test_a_stack_quantized_from_ranges_runs(bench, cosine, quant_format):
    """Both formats run and are near; QOperator's file, as the library writes it, fails when it runs."""
    model = bench.put(make())
    stage = QuantizeStatic(data="d", quant_format=quant_format, op_types_to_quantize=("MatMul",))

    small = bench.apply(stage, model, bench.put_items(items()))

    assert bench.notes["quantized_weights"] == 2
    expected, found = bench.run(model, items()[0]), bench.run(small, items()[0])
    assert cosine(found[0], expected[0]) > 0.999
