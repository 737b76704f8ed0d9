"""That gates bite: a checked-in recipe with one weight spoiled on purpose is not published."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from small_project import onnxbuild, write

RECIPES = Path(__file__).parents[2] / "recipes"

SPOIL = """
    import numpy as np
    from onnx import numpy_helper

    def matrices(model):
        weights = {item.name: item for item in model.graph.initializer if len(item.dims) > 1}
        return [weights[name] for node in model.graph.node for name in node.input if name in weights]

    def spoil(model, which):
        tensor = matrices(model)[which]
        spoiled = np.roll(numpy_helper.to_array(tensor), 1, 0)
        tensor.CopyFrom(numpy_helper.from_array(spoiled, tensor.name))
        return model

    def shrink(model, which):
        tensor = matrices(model)[which]
        for item in model.graph.initializer:
            if item.name in {tensor.name, tensor.name.replace("weight", "bias")}:
                item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) / np.float32(10), item.name))
        return model
"""

VARIANTS = ("slim", "fp16", "int8")

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The checked-in recipe after its first build, with a stage that spoils weights beside it."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(
        RECIPES / "digits", folder / "digits", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(RECIPES / "digits.yaml", folder)
    (folder / "pyproject.toml").write_text("")
    write(folder, spoil_py=SPOIL)
    done = onnxbuild("run", "digits.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def published(folder) -> dict[str, bytes]:
    return {
        name: (folder / "artifacts/digits" / name / "model.onnx").read_bytes() for name in VARIANTS
    }


@pytest.mark.parametrize(("function", "which"), [("spoil", -1), ("spoil", 0), ("shrink", -1)])
def test_one_spoiled_weight_stops_every_variant(digits, function, which):
    """Exit 3, a table of what was measured against what was asked, and the earlier files untouched and named."""
    before = published(digits)
    overrides = [
        f"stages.spoiled={{use: 'spoil.py:{function}', from: slim, which: {which}}}",
        "stages.fp16.from=spoiled",
        "stages.int8.from=spoiled",
        "publish=[spoiled,fp16,int8]",
        "verify.spoiled={cosine: 0.99}",
    ]

    done = onnxbuild("run", "digits.yaml", *overrides, cwd=digits)

    assert done.returncode == 3, done.stderr
    assert done.stdout.count("  not published\n") == 3
    table = done.stdout.partition("\n  not published")[2].partition("\n\n")[0].splitlines()
    assert {line.split()[0] for line in table if "missed" in line} == {"spoiled", "fp16", "int8"}
    assert "artifacts/digits/int8/model.onnx is from an earlier build" in done.stderr
    assert published(digits) == before
    assert not (digits / "artifacts/digits/spoiled").exists()


def test_outputs_tell_samples_apart(digits):
    """Else a comparison would say little: other images give other numbers, in every variant."""
    images = np.random.default_rng(0).random((2, 1, 8, 8), dtype=np.float32)

    for name in VARIANTS:
        folder = digits / "artifacts/digits" / name
        session = onnxruntime.InferenceSession(os.fspath(folder / "model.onnx"))
        (logits,) = session.run(None, {"image": images})
        assert np.abs(logits[0] - logits[1]).max() > 0.1 * np.abs(logits).max()
        fidelity = json.loads((folder / "build.json").read_text())["measured"]["fidelity"]
        assert fidelity["constant"] == []


def test_model_ten_times_too_small_has_a_cosine_of_one(digits):
    """And is refused all the same, though the recipe asks for a cosine alone."""
    done = onnxbuild(
        "run", "digits.yaml",
        "stages.small={use: 'spoil.py:shrink', from: slim, which: -1}", "publish=[small]", "verify.small={cosine: 0.999}",
        "--json", cwd=digits,
    )  # fmt: skip

    assert done.returncode == 3, done.stderr
    (missed,) = json.loads(done.stdout)["errors"]
    assert "scaled error of `logits`" in missed["what"]
