import os
import sys

import pytest

from onnxbuild.observe import scope
from onnxbuild.observe.scope import IGNORED, OUTSIDE, PROJECT, SITE, Scope, resolve


@pytest.fixture
def fresh():
    """Scopes of a process with another interpreter."""
    scope._machine.cache_clear()
    scope.sites.cache_clear()
    yield
    scope._machine.cache_clear()
    scope.sites.cache_clear()


def test_the_nearest_named_folder_decides(monkeypatch, fresh):
    """A project in /usr/src/app of a container whose Python is /usr's, with a .venv and a store inside."""
    monkeypatch.setattr(sys, "prefix", "/usr/src/app/.venv")
    monkeypatch.setattr(sys, "exec_prefix", "/usr/src/app/.venv")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "base_exec_prefix", "/usr")
    monkeypatch.setattr(sys, "path", ["/usr/src/app/.venv/lib/python3.11/site-packages"])

    found = Scope(
        root="/usr/src/app", roots={"hub": "/usr/src/hub"}, ignored=["/usr/src/app/.onnxbuild"]
    )

    assert found.kind("/usr/src/app/model.py") == PROJECT
    assert found.kind("/usr/src/hub/a.bin") == PROJECT
    assert found.kind("/usr/src/other/a.bin") == OUTSIDE
    assert found.kind("/usr/lib/python3.11/os.py") == IGNORED
    assert found.kind("/usr/src/app/.venv/bin/python") == IGNORED
    assert found.kind("/usr/src/app/.venv/lib/python3.11/site-packages/torch/x.py") == SITE
    assert found.kind("/usr/src/app/.onnxbuild/blobs/x") == IGNORED
    assert found.kind("/usr/src/app/deep/.git/HEAD") == IGNORED


def test_where_user_data_may_be_is_observed():
    """Only what came with the machine is left out."""
    found = Scope(root="/home/me/project", roots={}, ignored=())

    for path in ("/data/x", "/mnt/x", "/opt/x", "/home/me/x", "/tmp/x", "/usr/src/x", "/var/lib/x"):
        assert found.kind(path) == OUTSIDE, path
    for path in ("/etc/passwd", "/usr/lib/x", "/usr/share/x", "/proc/1/x", "/sys/x", "/dev/null"):
        assert found.kind(path) == IGNORED, path


def test_a_private_temporary_folder_is_left_out_and_a_shared_one_is_not(monkeypatch):
    """The worker's own; but /tmp may hold a user's data."""
    monkeypatch.setenv("TMPDIR", "/var/scratch/worker")
    private = Scope(root="/home/me/project", roots={}, ignored=())
    monkeypatch.setenv("TMPDIR", "/tmp")
    shared = Scope(root="/home/me/project", roots={}, ignored=())

    assert private.kind("/var/scratch/worker/x") == IGNORED
    assert shared.kind("/tmp/x") == OUTSIDE


def test_paths_are_resolved_as_the_system_does(project):
    """Above a link means above its target."""
    os.makedirs("a/b")
    os.symlink("a/b", "link")

    assert resolve("x") == project.path("x")
    assert resolve("./a//b/") == project.path("a/b")
    assert resolve("link/../x") == project.path("a/x")
    assert resolve(b"x") == project.path("x")
    assert resolve(None) == project.root
    assert resolve("") is None
    assert resolve("a\0b") is None
    assert resolve(object()) is None
