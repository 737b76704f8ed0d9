"""bfloat16, in which onnxruntime's CPU provider does not compute."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from test_stages_float16_numbers import BODIES, f, make, noise

from onnxbuild.errors import StageError
from onnxbuild.graph import summary
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.steps.running import Runner


@pytest.mark.parametrize("name", [name for name in BODIES if name not in {"types", "top"}])
def test_every_kind_of_graph_becomes_bfloat16(bench, name):
    """Weights are bfloat16; the model runs by rounding each result, and is as near as two digits allow."""
    body, weights = BODIES[name]
    model = bench.put(make(body, size="128" if name == "resize" else "64", **weights))

    half = bench.apply(Float16(dtype="bfloat16"), model, samples=[{"x": noise()}])

    expected = bench.run(model, {"x": noise()})[0]
    runner = Runner(bench.store.path(half))
    found = runner.run({"x": noise()}, "the sample")["y"]
    assert runner.emulated
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.06 * np.abs(expected).max())
    assert np.abs(found - expected).max() > 0
    described = summary.summarize(bench.store.path(half))
    assert described["weights"]["dtypes"]["bfloat16"]["elements"] >= 64 * 64
    assert described["inputs"][0]["dtype"] == "bfloat16"
    onnx.checker.check_model(bench.store.path(half))


def test_what_half_cannot_hold_bfloat16_can(bench):
    """A factor of a million needs no float32."""
    body = "m = MatMul(x, w)  b = Mul(m, k)  y = Div(b, k)"
    model = bench.put(make(body, k=f(1e6)))

    half = bench.apply(Float16(dtype="bfloat16"), model, samples=[{"x": noise()}])

    assert "kept_float32" not in bench.notes
    assert bench.notes["float32_weights"] == {}
    proto = onnx.load(bench.store.path(half), load_external_data=False)
    assert {t.data_type for t in proto.graph.initializer} == {TensorProto.BFLOAT16}


def test_an_opset_without_bfloat16_is_said(bench):
    """Rather than that nothing is there to convert."""
    model = bench.put(make("y = MatMul(x, w)", opset=11))

    with pytest.raises(StageError, match="no weight became half") as caught:
        bench.apply(Float16(dtype="bfloat16"), model)

    assert "from opset 13 on" in caught.value.hint
