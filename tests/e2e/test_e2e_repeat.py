"""Building all a second time, elsewhere, to see what is not reproducible."""

from __future__ import annotations

import json
import sys
import textwrap

import onnx_project
import pytest
from small_project import onnxbuild

pytestmark = pytest.mark.e2e

STAGES = """
    import os, signal, subprocess, sys, time

    def entropy(model):
        return note(model, os.urandom(8).hex())

    def clock(model):
        return note(model, time.time_ns())

    def folder(model):
        return note(model, os.getcwd())

    def file(model):
        return note(model, __file__)

    def order(model):
        return note(model, list({str(number) for number in range(9)}))

    def child(model):
        program = [sys.executable, "-c", "print(hash('a'))"]
        return note(model, subprocess.run(program, capture_output=True, check=True).stdout)

    def stuck(model):
        if ".onnxbuild/tmp/" in os.getcwd():
            os.kill(driver(), signal.SIGTERM)
            signal.pause()
        return model

    def driver():
        # The build: its child is the server, whose child is the worker.
        with open(f"/proc/{os.getppid()}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])

    def steady(model):
        with open("../beside.txt") as file:
            return note(model, [file.read(), sorted(os.listdir("data"))])

    def note(model, value):
        model.graph.node[0].name = str(value)
        return model
"""

VARYING = ("entropy", "clock", "folder", "file", "order", "child")


def make_project(folder, *stages: str) -> None:
    """Write a project whose recipe lies in a folder of its own and publishes these stages."""
    onnx_project.make_project(folder, STAGES)
    written = "".join(f"\n  {name}: {{use: 'own.py:{name}'}}" for name in stages)
    recipe = textwrap.dedent(onnx_project.RECIPE).partition("stages:")[0]
    (folder / "net.yaml").write_text(f"{recipe}stages:{written}\n")
    (folder.parent / "beside.txt").write_text("beside")
    for name in ("data/a.txt", "data/b.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)


def test_what_is_not_reproducible_is_found(tmp_path):
    """Entropy, the clock, places and the order of sets, a child's too; the rest passes, and nothing else changes."""
    project = tmp_path / "project"
    make_project(project, *VARYING, "steady")
    words = ("run", "net.yaml", "--check-reproducible")

    done = onnxbuild(*words, "--json", cwd=project)
    passed = onnxbuild(*words, "--only", "steady", cwd=project)

    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["status"] == "failed"
    differing = {item["step"]: item["what"] for item in found["repeated"]["differing"]}
    assert set(differing) == {f"{name}: {name}" for name in VARYING}
    assert all(text.startswith("graph.node[0] MatMul ") for text in differing.values())
    assert "/.onnxbuild/tmp/" in differing["folder: folder"]
    whys = [item["why"] for item in found["repeated"]["uncompared"]]
    assert sorted(whys)[:2] == ["child: child differs", "clock: clock differs"]
    assert whys.count("it measures time") == len(VARYING) + 1
    assert passed.returncode == 0, passed.stderr
    assert passed.stderr.startswith("once more, in a copy of what the steps read\n")
    assert passed.stdout.endswith(
        "6 steps: 6 cached\n\n5 steps gave the same twice; 1 not compared, since it measures time\n"
    )
    assert list((project / ".onnxbuild" / "tmp").iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_an_interrupt_leaves_no_copy(tmp_path):
    """SIGTERM while all is built again: exit 130, and the copy is gone with what was built there."""
    project = tmp_path / "project"
    make_project(project, "stuck")

    done = onnxbuild("run", "net.yaml", "--check-reproducible", cwd=project)

    assert done.returncode == 130
    assert "interrupted" in done.stderr
    assert list((project / ".onnxbuild" / "tmp").iterdir()) == []
