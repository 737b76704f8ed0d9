"""A small project, built once; each test gets a copy with its store."""

from __future__ import annotations

import shutil

import onnx_project
import pytest
from small_project import make_project, onnxbuild, run_json


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The project after its first build, not to be changed; and what that build said."""
    folder = tmp_path_factory.mktemp("built") / "project"
    make_project(folder)
    return folder, run_json(folder)


@pytest.fixture
def project(built, tmp_path):
    """A copy of the built project, with its store, in another place."""
    folder = tmp_path / "deeper" / "copy"
    shutil.copytree(built[0], folder, symlinks=True)
    return folder


STAMPED = """
    import time

    def change(model):
        model.graph.doc_string = str(time.time_ns())
        return model
"""


@pytest.fixture(scope="session")
def stamped(tmp_path_factory):
    """A project without PyTorch after its first build, whose own stage writes the time; not to be changed."""
    folder = tmp_path_factory.mktemp("stamped") / "project"
    onnx_project.make_project(folder, STAMPED)
    done = onnxbuild("run", "net.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def stamping(stamped, tmp_path):
    """A copy of the project whose own stage writes the time, with its store."""
    folder = tmp_path / "copy"
    shutil.copytree(stamped, folder, symlinks=True)
    return folder
