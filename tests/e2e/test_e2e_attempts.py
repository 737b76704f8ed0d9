"""Ways to export that fail: each is a step, kept like any other, and what is built says which were tried."""

from __future__ import annotations

import json
import textwrap

import pytest
from small_project import onnxbuild, ran

pytestmark = pytest.mark.e2e

MODEL = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def forward(self, x):
            if torch.compiler.is_exporting():
                raise ValueError("not for dynamo")
            return x * 2

    class Never(nn.Module):
        def forward(self, x):
            if torch.compiler.is_exporting() or torch.jit.is_tracing():
                raise ValueError("not at all")
            return x * 2
"""

RECIPE = """
    name: net
    model: {entry: "net.py:Net"}
    inputs:
      x: [batch, 4]
    publish: [export]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "net.py").write_text(textwrap.dedent(MODEL))
    (tmp_path / "net.yaml").write_text(textwrap.dedent(RECIPE))
    return tmp_path


def run(folder, *arguments: str, code: int = 0) -> dict:
    done = onnxbuild("run", "--json", "net.yaml", *arguments, cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_failed_attempt_is_a_step_that_is_kept(folder):
    """The plan says that it may grow; nothing is tried twice; `build.json`, `log` and `explain` tell of each."""
    plan = onnxbuild("plan", "net.yaml", cwd=folder).stdout
    first = run(folder)
    again = run(folder)
    loose = run(folder, "verify.default.scaled=0.5")
    (folder / "net.py").write_text((folder / "net.py").read_text() + "# a comment\n")
    told = onnxbuild("explain", "net.yaml", cwd=folder).stdout
    edited = run(folder)

    assert "export (may grow)" in plan
    assert [label for label in ran(first) if label.startswith("export")] == [
        "export",
        "export with torchscript",
    ]
    assert ran(again) == ran(loose) == []
    assert "net.py changed" in told.partition("export")[2]
    assert {"export", "export with torchscript"} <= set(ran(edited))
    made = json.loads((folder / "artifacts/net/export/build.json").read_text())
    notes = next(step["notes"] for step in made["provenance"]["steps"] if step["label"] == "export")
    assert [item["exporter"] for item in notes["attempts"]] == ["dynamo", "torchscript"]
    assert "not for dynamo" in notes["attempts"][0]["result"]
    assert "not for dynamo" in onnxbuild("log", "net.yaml", "--step", "export", cwd=folder).stdout
    log = onnxbuild("log", "net.yaml", "--step", "export with torchscript", cwd=folder).stdout
    assert "exported with torchscript (dynamo failed:" in log
    explained = onnxbuild("explain", "net.yaml", "--step", "export with torchscript", cwd=folder)
    assert "made" in explained.stdout


def test_when_no_way_is_left_all_are_told_of(folder):
    """The build fails with the reason of each and the name of its log; the next time only the last is tried."""
    (folder / "other.yaml").write_text(
        (folder / "net.yaml").read_text().replace("net\n", "other\n", 1)
    )

    first = run(folder, "model.entry=net.py:Never", code=1)
    again = run(folder, "model.entry=net.py:Never", code=1)
    several = run(folder, "other.yaml", "model.entry=net.py:Never", code=1)

    assert len(first["errors"]) == 1
    what = first["errors"][0]["what"]
    for way in ("dynamo", "torchscript", "dynamo strict"):
        assert "not at all" in what.partition(f"\n  {way}: ")[2].splitlines()[0]
    assert "onnxbuild log 'export with torchscript'" in what
    assert [step["label"] for step in first["steps"] if step["status"] == "failed"] == [
        "export with dynamo strict"
    ]
    assert ran(again) == []
    assert again["errors"] == first["errors"]
    assert [error["what"].partition(": ")[0] for error in several["errors"]] == ["net, other"]
