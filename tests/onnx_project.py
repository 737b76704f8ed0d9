"""A project whose model is an ONNX file, with a stage of its own: nothing in it needs PyTorch."""

from __future__ import annotations

import textwrap

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RECIPE = """
    name: net
    model: {onnx: net.onnx}
    inputs:
      x: {shape: [batch, 3]}
    outputs: [y]
    dims:
      batch: {min: 1, max: 4}
    stages:
      own: {use: "own.py:change"}
    publish: [own]
"""

STAGE = """
    def change(model):
        model.graph.doc_string = "changed"
        return model
"""


def make_project(folder, stage: str = STAGE) -> None:
    """Write the project; `stage` is the code of its stage, the function `change`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text("")
    (folder / "net.yaml").write_text(textwrap.dedent(RECIPE))
    write_stage(folder, stage)
    weight = np.arange(6, dtype=np.float32).reshape(3, 2) / 8
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "net.onnx")


def write_stage(folder, stage: str) -> None:
    """Write the file with the stage's code."""
    (folder / "own.py").write_text(textwrap.dedent(stage))
