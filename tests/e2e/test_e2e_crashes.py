"""Builds that end at any point, and stores that are damaged anywhere: see `crash_driver` and `damage_driver`."""

from __future__ import annotations

import json
import os
import shutil
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
            helper.make_node("Identity", ["r"], ["i"]),
            helper.make_node("MatMul", ["i", "second"], ["y"]),
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
def built_net(empty, tmp_path_factory) -> Path:
    """The project after its first build."""
    folder = tmp_path_factory.mktemp("built-net") / "project"
    shutil.copytree(empty, folder)
    done = onnxbuild("run", "net.yaml", "settings.executor=inline", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def stale(built_net, tmp_path_factory) -> Path:
    """The project whose model has changed since it was built and published."""
    folder = tmp_path_factory.mktemp("stale") / "project"
    shutil.copytree(built_net, folder)
    write_model(folder / "net.onnx", 1)
    return folder


def drive(driver: str, *arguments: object) -> dict:
    """Run a harness in a process of its own and give what it found."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(driver), *map(str, arguments)],
        capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("remainder", range(DIVISOR))
@pytest.mark.parametrize(
    ("project", "mode"),
    [("empty", "kill"), ("stale", "torn"), ("stale", "full"), ("empty", "worker")],
)
def test_a_build_may_end_at_every_point(project, mode, remainder, request):
    """Killed, or out of disk, before any write, flush, rename or commit: `artifacts/` has old or new, never a mix; the
    next run is only called, runs nothing that had finished, and gives what it should; collecting leaves nothing.
    """
    folder = request.getfixturevalue(project)

    told = drive("crash_driver.py", folder, mode, remainder, DIVISOR)

    assert told["points"] > 50
    assert told["problems"] == {}


@pytest.mark.parametrize("remainder", range(DIVISOR))
def test_every_damage_is_found_before_it_is_used(built_net, remainder):
    """Each file of the store and of `artifacts/`, flipped, truncated, deleted: a check finds it; whatever is then
    built is right, and the build says what was damaged, or it was not used; after a repair all is whole.
    """
    told = drive("damage_driver.py", built_net, remainder, DIVISOR)

    assert told["files"] > 8
    assert told["problems"] == {}


@pytest.mark.parametrize("project", ["empty", "stale"])
def test_real_builds_may_be_killed_at_any_moment(project, request):
    """With a server and workers: none of them is left, and the next run goes on where it was."""
    told = drive("kill_driver.py", request.getfixturevalue(project), 2, 1)

    assert told["problems"] == []
    assert told["killed"] > 0
