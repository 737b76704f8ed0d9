"""A workbench in an empty folder, which is also the working directory."""

import sys

import pytest
from workbench import Workbench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    bench = Workbench(str(tmp_path))
    yield bench
    bench.store.close()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
