"""Building as if nothing were cached."""

from __future__ import annotations

import json

import pytest
from small_project import onnxbuild

pytestmark = pytest.mark.e2e


def test_no_cache_runs_all_and_keeps_what_is_used(stamping):
    """Every step runs; what differs is told, times that were measured are not; the first result stays published."""
    model = stamping / "artifacts" / "net" / "own" / "model.onnx"
    first = model.read_bytes()

    shown = onnxbuild("run", "net.yaml", "--no-cache", "--dry-run", cwd=stamping)
    built = onnxbuild("run", "net.yaml", "--no-cache", "--json", cwd=stamping)
    remembered = list((stamping / ".onnxbuild" / "answers").iterdir())
    after = onnxbuild("run", "net.yaml", cwd=stamping)

    steps = json.loads(built.stdout)["steps"]
    assert f"\n{len(steps)} steps: {len(steps)} to run\n" in shown.stdout
    assert {step["status"] for step in steps} == {"ran"}
    assert remembered == []
    assert built.stderr == after.stderr
    assert built.stderr.count("not reproducible") == 1
    assert "own: change is not reproducible: 2 runs" in built.stderr
    assert f"{len(steps)} cached" in after.stdout
    assert model.read_bytes() == first
