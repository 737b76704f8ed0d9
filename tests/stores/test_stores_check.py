"""Checking a store: everything that is not what was written is found, named, and dropped when asked."""

from __future__ import annotations

import os
import sqlite3

import pytest

from onnxbuild.core import answers
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_file
from onnxbuild.core.trace import Trace
from onnxbuild.stores.check import check
from onnxbuild.stores.collect import Bounds, collect
from onnxbuild.stores.database import DamagedCacheError
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.measure import measure


@pytest.fixture
def store(tmp_path):
    """A store with one of everything."""
    store = LocalStore(str(tmp_path / "store"))
    weight = store.put_bytes(b"weight" * 1000)
    model = store.put_graph(b"graph" * 100, [weight], 6000)
    log = store.put_bytes(b"what it printed")
    trace = Trace(key="b3:key", ingredients={}, observations=(), results={"model": model}, log=log)
    store.record(trace)
    store.actions.note_latest("net", {"export|module:run": "b3:key"})
    answers.remember(os.path.join(store.root, "answers"), "call", [], {}, "/", {}, [], "said")
    folder = tmp_path / "artifacts" / "net" / "export"
    folder.mkdir(parents=True)
    published = folder / "model.onnx"
    published.write_bytes(b"published")
    store.note_variant(str(folder), {"model.onnx": digest_file(str(published))}, [trace])
    store.close()
    yield store
    store.close()


def places(store):
    """Say where each kind of thing lies."""
    trace = store.actions.all_traces()[0]
    model = trace.results["model"]
    (answer,) = os.listdir(os.path.join(store.root, "answers"))
    project = os.path.dirname(store.root)
    return {
        "weight": store.blob_path(model.parts[0]),
        "graph": store.graph_path(model.digest),
        "log": store.blob_path(trace.log),
        "answer": os.path.join(store.root, "answers", answer),
        "published": os.path.join(project, "artifacts", "net", "export", "model.onnx"),
    }


def flip(path):
    """Turn one bit over, and have the file look as it did."""
    status = os.stat(path)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)
        file.seek(status.st_size // 2)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_is_whole_is_counted(store):
    """Nothing is damaged in a store that was only written."""
    checked = check(store)

    assert checked.damages == ()
    assert (checked.results, checked.variants) == (1, 1)
    assert checked.files >= 5


@pytest.mark.parametrize("kind", ["weight", "graph", "log", "answer", "published"])
@pytest.mark.parametrize(
    ("hurt", "state"),
    [(flip, "damaged"), (lambda path: os.truncate(path, 3), "damaged"), (os.unlink, "missing")],
    ids=["flipped", "truncated", "deleted"],
)
def test_every_damage_is_found(store, kind, hurt, state):
    """It is named once, with its place, and whose it is."""
    path = places(store)[kind]
    hurt(path)

    checked = check(store)

    if (kind, state) == ("answer", "missing"):
        assert checked.damages == ()
        return
    (damage,) = checked.damages
    assert damage.state == state
    assert os.path.basename(damage.path).removesuffix(".onnx") == os.path.basename(
        path
    ).removesuffix(".onnx")
    if kind in {"weight", "graph", "log"}:
        assert damage.what == "a result of export of net"
    assert check(store).damages == checked.damages


@pytest.mark.parametrize("kind", ["weight", "graph", "log"])
@pytest.mark.parametrize("hurt", [flip, os.unlink], ids=["flipped", "deleted"])
def test_repair_drops_what_cannot_be_used(store, kind, hurt):
    """The trace goes, so that its step runs again; what says that nothing need run goes as well."""
    path = places(store)[kind]
    hurt(path)

    repaired = check(store, repair=True)

    assert repaired.repaired
    assert store.traces("b3:key") == ()
    assert not os.path.exists(path)
    assert os.listdir(os.path.join(store.root, "answers")) == []
    assert check(store).damages == ()


def test_repair_leaves_published_files_to_the_next_run(store):
    """It restores them from the store, and needs no step for it."""
    path = places(store)["published"]
    flip(path)

    check(store, repair=True)

    assert len(store.traces("b3:key")) == 1
    assert os.path.exists(path)


def test_a_damaged_trace_is_dropped(store):
    """Its row is named, and goes."""
    with sqlite3.connect(store.actions.path) as connection:
        connection.execute("UPDATE traces SET body = replace(body, 'model', 'Model')")

    (damage,) = check(store, repair=True).damages

    assert damage.what == "a trace: its step is built again"
    assert store.actions.all_traces() == []
    assert check(store).damages == ()


@pytest.mark.parametrize("position", [30, 60, 4096, 8192])
def test_a_torn_action_cache_is_found(store, position):
    """A flipped page is told by sqlite, or by the digest of a trace; repaired, the store is whole and may be empty."""
    store.close()
    with open(store.actions.path, "r+b") as file:
        file.seek(position)
        file.write(b"\xff" * 64)

    damages = check(store).damages
    check(store, repair=True)

    assert damages
    assert all(
        damage.path == store.actions.path
        for damage in damages
        if damage.what != "content that no result needs"
    )
    assert check(store).damages == ()


def test_content_that_nothing_needs_is_looked_at_too(store):
    """It would be taken for whole by whoever puts the same again."""
    path = store.blob_path(store.put_bytes(b"of a build that was killed"))
    flip(path)

    (damage,) = check(store, repair=True).damages

    assert damage.what == "content that no result needs"
    assert not os.path.exists(path)


def test_a_removed_variant_is_no_damage(store, tmp_path):
    """Whoever removes a whole folder means it."""
    (tmp_path / "artifacts" / "net" / "export" / "model.onnx").unlink()
    (tmp_path / "artifacts" / "net" / "export").rmdir()

    assert check(store).damages == ()


def test_inline_results_need_no_content(store):
    """Small JSON lies in its trace."""
    inline = Artifact(kind="json", digest="b3:" + "1" * 64, size=2, inline="{}")
    store.record(Trace(key="b3:small", ingredients={}, observations=(), results={"x": inline}))

    assert check(store).damages == ()


@pytest.mark.parametrize("table", ["traces", "files", "variants", "published", "latest", "logs"])
def test_bytes_that_are_no_text_are_survived(store, table):
    """A flipped bit may leave what is no UTF-8: whatever reads the tables goes on, and a repair makes it whole."""
    store.remember_files({"/a": ((1, 2, 3, 4), "b3:a")})
    store.actions.note_published("b3:m x", {"model.onnx": ("b3:1", 1)})
    store.actions.note_logs("net", {"export": ("ran", "b3:1", 1.0)})
    with sqlite3.connect(store.actions.path) as connection:
        column = {"traces": "body", "files": "digest", "latest": "key", "logs": "log"}.get(
            table, "files"
        )
        connection.execute(
            f"UPDATE {table} SET {column} ="
            f" CAST(CAST(substr({column}, 1, 2) AS BLOB) || x'ff' || CAST(substr({column}, 4) AS BLOB) AS TEXT)"
        )

    check(store, repair=True)

    assert check(store).damages == ()
    assert len(store.actions.all_traces()) == (0 if table == "traces" else 1)
    assert collect(store, Bounds()).results == 0
    assert isinstance(measure(store)["bytes"], int)


def test_a_whole_new_action_cache_is_not_put_aside(tmp_path):
    """Of two that have met the same damage one makes way; the other finds what the first has begun."""
    first, second = LocalStore(str(tmp_path)), LocalStore(str(tmp_path))
    first.actions.latest("net")
    first.close()
    with open(first.actions.path, "r+b") as file:
        file.write(b"garbage" * 100)
    for store in (first, second):
        with pytest.raises(DamagedCacheError):
            store.actions.latest("net")

    aside = first.set_aside()
    first.record(Trace(key="b3:new", ingredients={}, observations=(), results={}))
    nothing = second.set_aside()

    assert os.path.exists(aside)
    assert nothing == ""
    assert len(second.traces("b3:new")) == 1
    first.close()
    second.close()
