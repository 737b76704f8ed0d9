"""A build that ends at any point leaves nothing wrong behind: see `crash_driver` for what is tried and looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_project import onnxbuild

pytestmark = pytest.mark.e2e

RECIPE = """
name: net
model: {onnx: net.onnx}
inputs: {x: {shape: [2, 64]}}
dynamic_axes: {x: {0: batch}, y: {0: batch}}
export: {external_data: always}
stages:
  slim: onnxoptimizer
publish: [slim]
"""
DIVISOR = 2


def write_model(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    first = numpy_helper.from_array(generator.normal(size=(64, 64)).astype(np.float32), "first")
    second = numpy_helper.from_array(generator.normal(size=(64, 32)).astype(np.float32), "second")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "second"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 32])],
        [first, second],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)


@pytest.fixture(scope="session")
def empty(tmp_path_factory) -> Path:
    """A project that was never built."""
    folder = tmp_path_factory.mktemp("empty") / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    (folder / "net.yaml").write_text(RECIPE)
    write_model(folder / "net.onnx", 0)
    return folder


@pytest.fixture(scope="session")
def stale(empty, tmp_path_factory) -> Path:
    """A project whose model has changed since it was built and published."""
    folder = tmp_path_factory.mktemp("stale") / "project"
    subprocess.run(["cp", "-a", empty, folder], check=True)
    done = onnxbuild("run", "net.yaml", "settings.executor=inline", cwd=folder)
    assert done.returncode == 0, done.stderr
    write_model(folder / "net.onnx", 1)
    return folder


@pytest.mark.parametrize("remainder", range(DIVISOR))
@pytest.mark.parametrize(
    ("project", "mode"),
    [("empty", "kill"), ("stale", "torn"), ("stale", "full"), ("empty", "worker")],
)
def test_a_build_may_end_at_every_point(project, mode, remainder, request):
    """Killed, or out of disk, before any write, flush, rename or commit: `artifacts/` has old or new, never a mix; the
    next run is only called, runs nothing that had finished, and gives what it should; collecting leaves nothing.
    """
    if mode == "worker" and remainder:
        pytest.skip("a worker's points are few, and tried at once")
    folder = request.getfixturevalue(project)
    divisor = 1 if mode == "worker" else DIVISOR

    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crash_driver.py"), folder, mode, str(remainder), str(divisor)],
        capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["points"] > 50
    assert told["problems"] == {}
