"""A small project, and the command run in it as people run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """\
name: tiny
model:
  entry: tiny/model.py:build
  kwargs: {width: 4}
inputs:
  x: {shape: [batch, 3]}
outputs: [y]
export: {opset: 17, exporter: torchscript}
stages:
  slim: onnxoptimizer
publish: [slim]
"""

MODEL = """\
import torch


def build(width):
    print("building the tiny model")
    return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a recipe and a model; nothing is built."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.py").write_text(MODEL)
    return tmp_path


@pytest.fixture
def environment() -> dict[str, str]:
    """Give an environment in which output is the same everywhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ONNXBUILD", "PYTEST", "COV"))
    }
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return {**kept, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": package}


@pytest.fixture
def onnxbuild(tmp_path: Path, environment: dict[str, str]) -> Command:
    """Run the command in the project's folder."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "onnxbuild", *words],
            cwd=tmp_path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run
