"""Models that PyTorch computes in bfloat16, in which onnxruntime's CPU provider does not."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxbuild.arrays import BFLOAT16, ArraysWriter
from onnxbuild.steps.export.measure import measure

pytestmark = pytest.mark.e2e

MODEL = """
    import torch
    from torch import nn

    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).bfloat16().eval()
"""


@pytest.mark.parametrize("exporter", ["auto", "torchscript"])
def test_a_bfloat16_model_is_exported_and_measured(bench, exporter):
    """It stays bfloat16, and its numbers are held against PyTorch's with each result rounded."""
    bench.write("m.py", MODEL)
    inputs = {"x": {"shape": ["batch", 8], "dtype": "bfloat16"}}

    exported = bench.export("m.py:build", inputs, outputs=["y"], exporter=exporter)

    graph = exported.model.graph
    assert [value.dtype for value in (*graph.inputs, *graph.outputs)] == [ir.DataType.BFLOAT16] * 2
    paths = exported.path, ("x",), bench.path("samples"), bench.path("reference")
    assert measure(*paths) == []
    # Samples in the place of what PyTorch made of them: the comparison can fail.
    bench.sample(inputs, seed=1)
    assert (
        measure(exported.path, ("x",), bench.path("samples"), bench.path("reference"))[0].kind
        == "value"
    )


def test_a_last_digit_of_sixteen_bits_is_no_drift(tmp_path):
    """A value that is rounded to the next one is measured by how far that is, not as another whole number."""
    graph, samples, reference = (str(tmp_path / name) for name in ("m.onnx", "s.npz", "r.npz"))
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BFLOAT16, [2]) for name in "xy"
    ]
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    onnx.save(
        onnx.helper.make_model(
            onnx.helper.make_graph([node], "g", ports[:1], ports[1:]),
            opset_imports=[onnx.helper.make_opsetid("", 18)],
            ir_version=8,
        ),
        graph,
    )
    for path, name, values in (
        (samples, "x", [1.0, 3.0]),
        (reference, "y", [-1.0078125, -3.0]),
    ):
        with ArraysWriter(path) as writer:
            writer.add({name: np.array(values, BFLOAT16)})

    assert measure(graph, ("x",), samples, reference) == []
