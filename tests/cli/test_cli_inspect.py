"""Looking at an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_model(path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "weight")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["z"]),
            helper.make_node("Relu", ["z"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def test_file_is_summarized(onnxbuild, tmp_path: Path) -> None:
    """A file shows its interface, operators and weights, and what runs it."""
    save_model(tmp_path / "model.onnx")

    done = onnxbuild("inspect", "model.onnx")

    assert done.returncode == 0, done.stderr
    assert "opset        ai.onnx 17" in done.stdout
    assert "onnxruntime  1.12" in done.stdout
    assert "[batch, 3]" in done.stdout
    assert "MatMul" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_file_as_json(onnxbuild, tmp_path: Path) -> None:
    """``--json`` gives the same as values."""
    save_model(tmp_path / "model.onnx")

    summary = json.loads(onnxbuild("inspect", "--json", "model.onnx").stdout)

    assert summary["opset"] == 17
    assert summary["onnxruntime"] == "1.12"
    assert summary["operators"] == {"MatMul": 1, "Relu": 1}
    assert summary["inputs"] == [{"name": "x", "dtype": "float", "shape": ["batch", 3]}]


def test_missing_file_names_the_nearest(onnxbuild, tmp_path: Path) -> None:
    """A typo in the path is answered with the file that is there."""
    save_model(tmp_path / "model.onnx")

    done = onnxbuild("inspect", "modle.onnx")

    assert done.returncode == 2
    assert "did you mean model.onnx?" in done.stderr


def test_what_is_no_model_is_said(onnxbuild, tmp_path: Path) -> None:
    """A file of another kind, a cut-off file, a folder and a recipe each get their own words."""
    save_model(tmp_path / "model.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "model.onnx").read_bytes()[:40])
    (tmp_path / "r.yaml").write_text("name: r")

    text, cut, folder, recipe = (
        onnxbuild("inspect", name) for name in ("text.onnx", "cut.onnx", ".", "r.yaml")
    )

    assert "not an ONNX model" in text.stderr
    assert "ONNX" in cut.stderr
    assert "is a folder" in folder.stderr
    assert "is a recipe" in recipe.stderr
    assert {text.returncode, cut.returncode, folder.returncode, recipe.returncode} <= {1, 2}
    assert "Traceback" not in text.stderr + cut.stderr + folder.stderr + recipe.stderr
