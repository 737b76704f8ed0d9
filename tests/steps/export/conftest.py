"""The bench, in a folder of its own."""

from __future__ import annotations

import pytest
from torch_bench import Bench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Bench(str(tmp_path))
