"""The bench, in a folder of its own."""

from __future__ import annotations

import pytest
import torch
from torch_bench import Bench, forget_modules


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield Bench(str(tmp_path))
    forget_modules(str(tmp_path))
