"""Variants that are published as other files than one ``model.onnx``."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from small_project import onnxbuild

from tests.stages.networks import ids, transformer

pytestmark = pytest.mark.e2e

RECIPE = """
name: net
model: {onnx: net.onnx}
inputs:
  ids: {shape: [batch, sequence], dtype: int64, range: [0, 100]}
outputs: [y]
dims: {batch: {max: 4}, sequence: {max: 12}}
export: {external_data: EXTERNAL}
stages:
  parts: {use: split, from: export, at: [r]}
  phone: {use: ort_format, from: export}
publish: [parts, phone]
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "net.yaml").write_text(RECIPE.replace("EXTERNAL", "auto"))
    onnx.save(transformer(), tmp_path / "net.onnx")
    return tmp_path


def run(path, feed):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    wanted = {item.name: feed[item.name] for item in session.get_inputs()}
    return dict(zip(names, session.run(None, wanted), strict=True))


def test_parts_and_ort_files_are_published_verified_and_restored(project):
    """They are there in place of the model, build.json says how they go together, and a lost one comes back."""
    published = project / "artifacts" / "net"

    done = onnxbuild("run", "net.yaml", cwd=project)

    assert done.returncode == 0, done.stderr
    names = {path.name for path in published.glob("*/*")}
    assert names == {"build.json", "part-1.onnx", "part-2.onnx", "model.ort"}
    told = json.loads((published / "parts" / "build.json").read_text())
    assert [part["file"] for part in told["parts"]] == ["part-1.onnx", "part-2.onnx"]
    assert [value["name"] for value in told["parts"][1]["inputs"]] == ["r"]
    assert "parts" not in json.loads((published / "phone" / "build.json").read_text())
    expected = run(project / "net.onnx", ids())["y"]
    values = {**ids(), **run(published / "parts" / "part-1.onnx", ids())}
    chained = run(published / "parts" / "part-2.onnx", values)["y"]
    np.testing.assert_allclose(chained, expected, atol=1e-5)
    np.testing.assert_allclose(
        run(published / "phone" / "model.ort", ids())["y"], expected, atol=1e-4
    )

    before = (published / "parts" / "part-2.onnx").read_bytes()
    (published / "parts" / "part-2.onnx").unlink()
    shutil.rmtree(published / "phone")
    again = onnxbuild("run", "net.yaml", cwd=project)

    assert again.returncode == 0, again.stderr
    assert " ran" not in again.stdout
    assert (published / "parts" / "part-2.onnx").read_bytes() == before
    assert (published / "phone" / "model.ort").exists()


def test_parts_keep_their_weights_beside_them_where_that_is_asked(project):
    """Each part has data of its own, and loads with it."""
    (project / "net.yaml").write_text(
        RECIPE.replace("EXTERNAL", "always").replace("[parts, phone]", "[parts]")
    )
    published = project / "artifacts" / "net" / "parts"

    done = onnxbuild("run", "net.yaml", cwd=project)

    assert done.returncode == 0, done.stderr
    assert len(list(published.glob("part-1-*.onnx.data"))) == 1
    assert len(list(published.glob("part-2-*.onnx.data"))) == 1
    values = {**ids(), **run(published / "part-1.onnx", ids())}
    assert run(published / "part-2.onnx", values)["y"].shape == (2, 5, 48)
