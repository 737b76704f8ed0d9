"""A workbench in an empty folder, which is also the working directory."""

import sys

import pytest
from workbench import Workbench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    bench = Workbench(str(tmp_path))
    yield bench
    bench.store.close()
