"""A small project, built once; each test gets a copy with its store."""

from __future__ import annotations

import shutil

import pytest
from small_project import make_project, run_json


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
