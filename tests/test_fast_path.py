"""The paths that must stay light import nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from small_project import make_project, onnxbuild

HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "numpy",
    "hydra",
    "omegaconf",
    "yaml",
    "jsonschema",
    "rich",
}
SLOW = {"argparse", "json", "dataclasses", "pathlib", "sqlite3", "importlib.metadata", "typing"}


def modules_of(*arguments: str, cwd) -> set[str]:
    """Run the command in a process of its own and give the modules that it imported."""
    code = (
        "import atexit, os, sys\n"
        "atexit.register(lambda: print('\\n' + repr(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['onnxbuild', *{list(arguments)!r}]\n"
        "from onnxbuild.__main__ import main\n"
        "main()\n"
    )
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(eval(done.stderr.strip().splitlines()[-1]))


def test_help_is_light(tmp_path):
    """`--help` imports no library and not even argparse."""
    assert not modules_of("--help", cwd=tmp_path) & (HEAVY | {"argparse", "json"})


@pytest.mark.e2e
def test_cached_run_is_light(tmp_path):
    """A fully cached run looks at what was observed and prints, locked or not; a plan and a validation likewise."""
    folder = tmp_path / "project"
    make_project(folder)
    first = onnxbuild("run", "small.yaml", "publish=[slim]", cwd=folder)
    assert first.returncode == 0, first.stderr

    again = modules_of("run", "small.yaml", "publish=[slim]", cwd=folder)

    assert not again & (HEAVY | SLOW)
    locked = ("run", "small.yaml", "publish=[slim]", "--locked")
    for words in (("lock", *locked[1:-1]), locked):
        modules_of(*words, cwd=folder)
    assert not modules_of(*locked, cwd=folder) & (HEAVY | SLOW)
    for command in ("plan", "validate"):
        modules_of(command, "small.yaml", "publish=[slim]", cwd=folder)
        assert not modules_of(command, "small.yaml", "publish=[slim]", cwd=folder) & (HEAVY | SLOW)


@pytest.mark.e2e
def test_remembered_answer_is_the_real_one(tmp_path):
    """What is remembered after a build is word for word what a cached build prints, until something changes."""
    folder = tmp_path / "project"
    make_project(folder)
    arguments = ("run", "--json", "small.yaml", "publish=[slim]")
    onnxbuild(*arguments, cwd=folder)

    remembered = onnxbuild(*arguments, cwd=folder)
    for name in os.listdir(folder / ".onnxbuild" / "answers"):
        os.unlink(folder / ".onnxbuild" / "answers" / name)
    worked_out = onnxbuild(*arguments, cwd=folder)
    (folder / "artifacts" / "small" / "slim" / "model.onnx").write_bytes(b"edited")
    restored = onnxbuild(*arguments, cwd=folder)

    assert remembered.stdout == worked_out.stdout == restored.stdout
    assert json.loads(remembered.stdout)["status"] == "ok"
    assert (folder / "artifacts" / "small" / "slim" / "model.onnx").read_bytes() != b"edited"
