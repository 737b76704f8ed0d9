"""What all tests share."""

from __future__ import annotations

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no worker is left with it when the others are done."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/zoo"))


@pytest.fixture(autouse=True)
def forget_modules(request):
    """Let the next test import files of its own under the same names.

    Set up before what a test asks for, so it has the last word, after `monkeypatch` too.
    """
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder = str(request.getfixturevalue("tmp_path"))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(folder)]
