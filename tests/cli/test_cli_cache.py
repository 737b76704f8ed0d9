"""Measuring the store, and remembering what steps printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxbuild.cli.cache import render
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.trace import Trace
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.measure import measure


@pytest.fixture
def store(tmp_path: Path):
    store = LocalStore(str(tmp_path / "store"))
    yield store
    store.close()


def record(store: LocalStore, recipe: str, key: str, *contents: bytes) -> None:
    results = {
        str(number): Artifact(kind="file", digest=store.put_bytes(content), size=len(content))
        for number, content in enumerate(contents)
    }
    store.record(Trace(key=key, ingredients={}, observations=(), results=results))
    store.actions.note_latest(recipe, {key: key})


def test_recipes_share_and_own_bytes(store: LocalStore) -> None:
    """What two recipes use is shared, what one uses is its own, what none uses is of earlier builds."""
    record(store, "a", "key 1", b"x" * 100, b"shared" * 10)
    record(store, "b", "key 2", b"y" * 7, b"shared" * 10)
    store.put_bytes(b"old")

    measured = measure(store)

    assert measured["recipes"] == {
        "a": {"bytes": 160, "unique": 100, "shared": 60},
        "b": {"bytes": 67, "unique": 7, "shared": 60},
    }
    assert measured["of_no_last_build"] == 3
    assert measured["kinds"]["weights and data"] == {"files": 4, "bytes": 170}
    assert measured["bytes"] == sum(item["bytes"] for item in measured["kinds"].values())
    assert "3 B are of earlier builds." in render(measured)


def test_only_the_recipes_asked_for_are_listed(store: LocalStore) -> None:
    """Naming recipes narrows the list, not what counts as shared."""
    record(store, "a", "key 1", b"shared")
    record(store, "b", "key 2", b"shared")

    measured = measure(store, ["a", "never built"])

    assert measured["recipes"] == {
        "a": {"bytes": 6, "unique": 0, "shared": 6},
        "never built": {"bytes": 0, "unique": 0, "shared": 0},
    }


def test_the_last_log_of_a_step_is_kept(store: LocalStore) -> None:
    """A later run or failure replaces the entry of its step, in its recipe only."""
    store.actions.note_logs("a", {"export": ("ran", "b3:1", 1.0), "slim": ("ran", "", 2.0)})
    store.actions.note_logs("a", {"export": ("failed", "b3:2", 3.0)})

    assert store.actions.logs("a") == {"export": ("failed", "b3:2", 3.0), "slim": ("ran", "", 2.0)}
    assert store.actions.logs("b") == {}
