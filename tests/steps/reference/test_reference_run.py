"""The original model's outputs."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest

from onnxbuild.arrays import ArraysWriter, read_item, read_items
from onnxbuild.core.artifact import Artifact
from onnxbuild.errors import DataError, ModelError
from onnxbuild.steps.reference import run

pytestmark = pytest.mark.e2e

NET = """
    from torch import nn

    class Net(nn.Module):
        def forward(self, x):
            return {"double": x * 2, "total": x.sum(1)}

    class Log(nn.Module):
        def forward(self, x):
            return x.abs().clamp(max=0).log()
"""
X = {"x": {"shape": ["batch", 3]}}


def test_each_sample_has_its_outputs(bench):
    """One item of outputs for each sample, by name, with their ranges in the notes."""
    bench.write("net.py", NET)
    bench.sample(X)

    notes = bench.reference({"entry": "net.py:Net"}, X)

    pairs = list(
        zip(read_items(bench.path("samples")), read_items(bench.path("reference")), strict=True)
    )
    assert len(pairs) == notes["samples"] == 5
    for item, outputs in pairs:
        assert list(outputs) == ["double", "total"]
        assert np.array_equal(outputs["double"], item["x"] * 2)
    low, high = notes["ranges"]["double"]
    assert low == min(float(o["double"].min()) for _, o in pairs)
    assert high == max(float(o["double"].max()) for _, o in pairs)


def test_predictions_ignore_labels(bench):
    """Items of a data entry may have more than the inputs; less is an error."""
    bench.write("net.py", NET)
    bench.sample({"x": {"shape": [2, 3]}, "label": {"shape": [2]}})
    options = {"model": {"entry": "net.py:Net"}, "inputs": X}
    work = bench.work(options, {"items": bench.artifacts["samples"]}, ("predictions",))

    found: dict[str, Artifact] = run.predict(work)

    outputs = list(read_items(bench.store.path(found["predictions"])))
    assert [list(item) for item in outputs] == [["double", "total"]] * 2
    options["inputs"] = {"y": {"shape": [1]}}
    with pytest.raises(DataError, match="item 0 has no y"):
        run.predict(bench.work(options, {"items": bench.artifacts["samples"]}, ("predictions",)))


def test_data_of_another_float_type_is_cast(bench):
    """numpy makes float64 where nobody says otherwise; calibration and runtimes cast as well."""
    bench.write("net.py", "from torch import nn\ndef build():\n    return nn.Linear(2, 3)\n")
    path = os.path.join(bench.folder, "items.npz")
    with ArraysWriter(path) as writer:
        writer.add({"x": np.ones((4, 2))})
    work = bench.work({}, {}, ())
    items = work.put_file(path, "arrays")
    inputs = {"x": {"shape": ["batch", 2], "dtype": "float32"}}
    options = {"model": {"entry": "net.py:build"}, "inputs": inputs, "outputs": None}

    work = bench.work(options, {"items": items}, ("predictions",))
    found = read_item(bench.store.path(run.predict(work)["predictions"]), 0)

    assert found["output"].dtype == np.float32


def test_a_reference_that_is_not_finite_is_an_error(bench):
    """NaN and infinities are found at the first sample that gives them."""
    bench.write("net.py", NET)
    bench.sample(X)

    with pytest.raises(ModelError, match=r"6 of 6 values .* in 'output' for sample 0 \(x 2x3\)"):
        bench.reference({"entry": "net.py:Log"}, X)


def test_bfloat16_goes_through(bench):
    """bfloat16 inputs and outputs keep their bits."""
    bench.write("net.py", NET)
    x = {"x": {"shape": [2, 3], "dtype": "bfloat16"}}
    bench.sample(x)

    bench.reference({"entry": "net.py:Net"}, x)

    item, outputs = (
        next(read_items(bench.path("samples"))),
        next(read_items(bench.path("reference"))),
    )
    assert np.array_equal(outputs["double"], item["x"] + item["x"])


def test_an_onnx_file_is_run_by_onnxruntime(bench):
    """`model.onnx` needs no torch, and takes the recipe's names by order."""
    node = onnx.helper.make_node("Mul", ["a", "a"], ["b"])
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [info("a", 1, ["n", 3])], [info("b", 1, ["n", 3])])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), "m.onnx")
    bench.sample(X)

    bench.reference({"onnx": "m.onnx"}, X, ["square"])

    item, outputs = (
        next(read_items(bench.path("samples"))),
        next(read_items(bench.path("reference"))),
    )
    assert np.array_equal(outputs["square"], item["x"] ** 2)
