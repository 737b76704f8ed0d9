"""Stages on models that torch exported, and the same bytes in every process."""

import os
import subprocess
import sys

import numpy as np
import pytest

from onnxbuild.graph import load
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.onnxoptimizer.spec import OnnxOptimizer
from onnxbuild.stages.onnxruntime.spec import OnnxRuntime
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic

SCRIPT = """
import logging, pathlib, sys
logging.disable(logging.WARNING)
sys.path.insert(0, sys.argv[1])
from conftest import Bench
from test_stages_quantize import batches, make
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.onnxoptimizer.spec import OnnxOptimizer
from onnxbuild.stages.onnxruntime.spec import OnnxRuntime
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic
bench = Bench(pathlib.Path(sys.argv[2]))
model, data = bench.put(make()), bench.put_items(batches())
for stage in (OnnxOptimizer(), OnnxRuntime(), OnnxRuntime(level="extended"), Float16(keep_io_types=True),
              QuantizeDynamic(), QuantizeStatic(data="d"), QuantizeStatic(data="d", quant_format="QOperator"),
              QuantizeStatic(data="d", calibrate_method="percentile")):
    print(bench.apply(stage, model, data).digest)
"""


def test_bytes_depend_neither_on_folder_nor_process_nor_hash_seed(tmp_path):
    """Every stage gives the same bytes in two processes with different hash seeds and folders."""
    outputs = []
    for seed in ("1", "4242"):
        folder = tmp_path / f"folder{seed}"
        folder.mkdir()
        outputs.append(
            subprocess.run(
                [sys.executable, "-c", SCRIPT, os.path.dirname(__file__), str(folder)],
                env={**os.environ, "PYTHONHASHSEED": seed},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )

    digests = [line for line in outputs[0].splitlines() if line.startswith("b3:")]
    assert len(digests) == 8
    assert outputs[0] == outputs[1]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A transformer encoder with dynamic batch and length, and a CNN, exported by dynamo."""
    import warnings

    torch = pytest.importorskip("torch")

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(100, 64)
            layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
            self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = torch.nn.Linear(64, 16)

        def forward(self, ids, mask):
            hidden = self.layers(self.embed(ids), src_key_padding_mask=mask)
            return self.head(hidden.mean(1))

    path = str(tmp_path_factory.mktemp("encoder") / "encoder.onnx")
    torch.manual_seed(0)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=64)
    example = (torch.randint(0, 100, (2, 7)), torch.zeros(2, 7, dtype=torch.bool))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Encoder().eval(), example, path, dynamo=True, verbose=False, opset_version=18,
            input_names=["ids", "mask"], output_names=["y"],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
        )  # fmt: skip
    torch.backends.mha.set_fastpath_enabled(fast)
    return path


def sentences():
    generator = np.random.default_rng(0)
    return [
        {
            "ids": generator.integers(0, 100, (size, 9)),
            "mask": np.arange(9)[None].repeat(size, 0) > 6,
        }
        for size in (1, 3, 4, 5)
    ]


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("stage", "least"),
    [
        pytest.param(OnnxOptimizer(), 0.999999, id="onnxoptimizer"),
        pytest.param(OnnxRuntime(), 0.999999, id="basic"),
        pytest.param(OnnxRuntime(level="extended"), 0.999999, id="extended"),
        pytest.param(Float16(), 0.9999, id="float16"),
        pytest.param(QuantizeDynamic(), 0.998, id="dynamic"),
        pytest.param(
            QuantizeStatic(data="d", op_types_to_quantize=("MatMul", "Gemm")), 0.998, id="static"
        ),
    ],
)
def test_a_transformer_stays_near(bench, cosine, encoder, stage, least):
    """A masked transformer encoder loads after every stage, at other shapes too, with near numbers."""
    model = bench.put(load.read(encoder))

    small = bench.apply(stage, model, bench.put_items(sentences()))

    for item in sentences():
        expected, got = (bench.run(artifact, item)[0] for artifact in (model, small))
        assert np.isfinite(got).all()
        assert cosine(expected, got) > least


@pytest.mark.e2e
def test_stages_compose(bench, cosine, encoder):
    """Half precision and integers of an optimized, exported graph; weights are shared, not copied."""
    model = bench.put(load.read(encoder))

    slim = bench.apply(OnnxOptimizer(), model)
    extended = bench.apply(OnnxRuntime(level="extended"), slim)
    half = bench.apply(Float16(keep_io_types=True), slim)
    small = bench.apply(QuantizeDynamic(), slim)

    assert set(slim.parts) & set(model.parts)
    for artifact in (extended, half, small):
        for item in sentences():
            pair = (bench.run(model, item)[0], bench.run(artifact, item)[0])
            assert cosine(*pair) > 0.998


@pytest.mark.e2e
def test_an_exported_graph_tells_nothing_of_the_machine(bench, encoder):
    """No folder, file or source line is in what is kept; the names of layers are."""
    model = bench.put(load.read(encoder))

    with open(bench.store.path(model), "rb") as file:
        content = file.read()

    assert b".py" not in content
    assert os.path.dirname(os.path.dirname(__file__)).encode() not in content
    assert b"site-packages" not in content
    assert b"layers.0" in content
