"""Locking what is published, and holding builds to it."""

from __future__ import annotations

import json

import onnx_project
import pytest
from onnx_project import write_stage
from small_project import onnxbuild

from onnxbuild import api

pytestmark = pytest.mark.e2e


def test_a_build_keeps_to_its_lock(stamping):
    """Locked once, served from memory; an edited lock is noticed, another model is refused and replaces nothing."""
    model, lock = stamping / "artifacts" / "net" / "own" / "model.onnx", stamping / "net.lock.yaml"
    content = model.read_bytes()

    unlocked = onnxbuild("run", "net.yaml", "--locked", cwd=stamping)
    written, kept = (onnxbuild("lock", "net.yaml", cwd=stamping) for _ in range(2))
    first, again = (onnxbuild("run", "net.yaml", "--locked", cwd=stamping) for _ in range(2))
    text = lock.read_text()
    lock.write_text(text.replace('digest: "b3:', 'digest: "b3:0123'))
    damaged = onnxbuild("run", "net.yaml", "--locked", cwd=stamping)
    lock.write_text(text)
    write_stage(stamping, "def change(model):\n    return model\n")
    other = onnxbuild("run", "net.yaml", "--locked", "name=net", cwd=stamping)
    refused = onnxbuild("run", "net.yaml", "--locked", "--json", cwd=stamping)

    assert unlocked.returncode == 2
    assert "net.yaml has no lock" in unlocked.stderr
    assert (written.stdout, kept.stdout) == (
        "net.lock.yaml: written\n",
        "net.lock.yaml: as it was\n",
    )
    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert damaged.returncode == 2
    assert "net.lock.yaml:14:9" in damaged.stderr
    assert other.returncode == refused.returncode == 1
    assert "overrides: name=net here, none in the lock" in other.stderr
    error = json.loads(refused.stdout)["errors"][0]
    assert error["what"].startswith("net/own was not published: model.onnx would be b3:")
    assert error["where"].startswith("net.lock.yaml:")
    assert "`onnxbuild lock net.yaml` renews the lock" in error["hint"]
    assert model.read_bytes() == content


def test_variants_that_come_and_go_are_refused(stamping):
    """From Python as well: what is not in the lock is not published, what is in it and gone is an error."""
    recipe, lock = str(stamping / "net.yaml"), stamping / "net.lock.yaml"

    locking = api.lock(recipe)
    kept = api.run(recipe, locked=True)
    lock.write_text(lock.read_text().replace("  own:", "  other:"))
    refused = api.run(recipe, locked=True)

    assert locking.written == (str(lock),)
    assert set(locking.locks[str(lock)].variants) == set(kept.variants) == {"own"}
    assert kept.exit_code == 0
    assert refused.exit_code == 1
    assert not refused.variants["own"].published
    assert [error.what for error in refused.errors] == [
        "net/own was not published: it is not in the lock",
        "net/other is locked, and the recipe does not publish it",
    ]


def test_what_fails_is_not_locked(stamping):
    """A build that misses its gate ends as `run` does, and writes no lock."""
    done = onnxbuild("lock", "net.yaml", "verify.own={max_size_ratio: 0.1}", cwd=stamping)

    assert done.returncode == 3
    assert not (stamping / "net.lock.yaml").exists()


def test_a_lock_is_no_recipe_and_a_sweep_has_none(stamping):
    """Patterns of a shell that take locks for recipes are answered in words."""
    onnxbuild("lock", "net.yaml", cwd=stamping)

    taken = onnxbuild("run", "net.lock.yaml", cwd=stamping)
    swept = onnxbuild("run", "net.yaml", "--locked", "-m", "env=,", cwd=stamping)

    assert taken.returncode == swept.returncode == 2
    assert "net.lock.yaml is a lock file, not a recipe" in taken.stderr


def test_two_recipes_cannot_have_one_lock(tmp_path):
    """Refused before anything is built."""
    onnx_project.make_project(tmp_path)
    (tmp_path / "net.yml").write_text((tmp_path / "net.yaml").read_text())

    done = onnxbuild("lock", "net.yaml", "net.yml", cwd=tmp_path)

    assert done.returncode == 2
    assert "net.yaml and net.yml would have one lock: net.lock.yaml" in done.stderr
    assert not (tmp_path / "net.lock.yaml").exists()
