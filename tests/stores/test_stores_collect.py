"""Collecting: what goes, in which order, and what never does."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

import pytest

from onnxbuild.core import points
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.trace import Trace
from onnxbuild.stores import collect as collecting
from onnxbuild.stores.check import check
from onnxbuild.stores.collect import Bounds, collect
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.rows import fingerprint

DAY = 86400
NOTHING = Bounds(max_size=0)


@pytest.fixture
def store(tmp_path):
    store = LocalStore(str(tmp_path / "project" / "store"))
    yield store
    store.close()


def record(store, key, *contents, days=1, seconds=0.0, parts=()):
    """Keep a result that last served a build some days ago; its content was written then."""
    digests = [store.put_bytes(content) for content in contents]
    results = {
        str(number): Artifact(kind="file", digest=digest, size=1, parts=tuple(parts))
        for number, digest in enumerate(digests)
    }
    used = time.time() - days * DAY
    trace = Trace(
        key=key, ingredients={}, observations=(), results=results, made=used, seconds=seconds
    )
    store.record(trace)
    for digest in (*digests, *parts):
        os.utime(store.blob_path(digest), (used, used))
    return trace


def content(trace):
    return [artifact.digest for artifact in trace.results.values()]


def is_kept(store, trace):
    return [os.path.exists(store.blob_path(digest)) for digest in content(trace)] == [True]


def test_without_bounds_only_what_nobody_needs_goes(store):
    """Results stay; content without a trace, and what dead builds have left, does not."""
    kept = record(store, "key", b"kept")
    lost = store.put_bytes(b"of a build that was killed")
    name = "0" * 64
    damaged = os.path.join(store.root, "quarantine", name)
    claim = os.path.join(store.root, "claims", name)
    folder = os.path.join(store.root, "tmp", "1-abcdefgh")
    os.makedirs(os.path.join(folder, "work"))
    half = os.path.join(folder, "work", "half")
    scratch = os.path.join(store.root, f"tmp-1-{'0' * 32}.onnx")
    for path in (damaged, claim, half, scratch):
        with open(path, "wb") as file:
            file.write(b"x" * 10)
    mine = [
        os.path.join(store.root, *place.split("/"))
        for place in (
            "README", "tmp-report.pdf", "tmp/notes.txt", "tmp/photos/1.jpg", "answers/exam/1.txt",
            "leases/contract.pdf", "claims/i.pdf", "quarantine/x", "blobs/x", "blobs/aa/x", "mine.onnx",
        )
    ]  # fmt: skip
    for path in mine:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"a user's")
    age(store.root)

    done = collect(store, Bounds())

    assert is_kept(store, kept)
    gone = (store.blob_path(lost), damaged, claim, folder, scratch)
    assert [path for path in gone if os.path.exists(path)] == []
    assert [path for path in mine if not os.path.exists(path)] == []
    assert done.results == 0
    assert sum(done.files.values()) == 5
    assert collect(store, Bounds()).files == {}


def age(folder):
    """Have all files and folders look as if they were from yesterday."""
    yesterday = time.time() - DAY
    for place, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            os.utime(os.path.join(place, name), (yesterday, yesterday))


def test_times_in_the_future_keep_nothing(store):
    """A clock that was set back leaves them; they are no running build's."""
    trace = record(store, "key", b"content", days=-400)
    left = os.path.join(store.root, "tmp", "1-abcdefgh")
    os.makedirs(left)
    coming = time.time() + 400 * DAY
    os.utime(left, (coming, coming))

    done = collect(store, NOTHING)

    assert (done.results, done.in_use) == (1, 0)
    assert not is_kept(store, trace)
    assert not os.path.exists(left)


def test_a_store_behind_a_link_knows_what_is_published(tmp_path):
    """Where it lies counts by real paths."""
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "project" / "artifacts" / "net" / "fp32").mkdir(parents=True)
    (tmp_path / "project" / "store").symlink_to(tmp_path / "elsewhere" / "deep")
    store = LocalStore(str(tmp_path / "project" / "store"))
    trace = record(store, "key", b"published")
    folder = tmp_path / "project" / "artifacts" / "net" / "fp32"
    store.note_variant(str(folder), {}, [trace])

    done = collect(store, NOTHING)

    assert (done.published, done.results) == (1, 0)
    store.close()


def test_removing_and_looking_exclude_each_other(store, monkeypatch):
    """While content goes nobody looks up or touches; while somebody does, nothing goes."""
    record(store, "key", b"content")
    gate = os.path.join(store.root, "leases", "gate")
    found = []

    def try_lock(how: int) -> bool:
        with open(gate, "rb") as file:
            try:
                fcntl.flock(file, how | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    touch = os.utime

    def note_touch(*arguments) -> None:
        found.append(("touch", try_lock(fcntl.LOCK_EX)))
        touch(*arguments)

    monkeypatch.setattr(
        points,
        "at",
        lambda what, _: what == "remove" and found.append(("remove", try_lock(fcntl.LOCK_SH))),
    )
    monkeypatch.setattr(os, "utime", note_touch)
    builder = LocalStore(store.root)
    monkeypatch.setattr(
        builder.actions, "traces", lambda _: found.append(("look", try_lock(fcntl.LOCK_EX))) or ()
    )
    with builder.lease():
        builder.traces("other")
        builder.put_bytes(b"content")
        builder.put_bytes(b"content")
    builder.close()
    os.utime(store.blob_path(digest_bytes(b"content")), (1, 1))
    found_before = list(found)
    collect(store, NOTHING)

    assert ("look", False) in found_before
    assert ("touch", False) in found_before
    assert ("remove", False) in found
    assert ("remove", True) not in found


def test_least_recently_used_goes_first(store):
    """Until the store is small enough, and no further."""
    traces = [record(store, f"key {days}", bytes([days]) * 10_000, days=days) for days in (3, 1, 2)]
    limit = sum(item.size for item in collecting.list_items(store.root)) - 15_000

    done = collect(store, Bounds(max_size=limit))

    assert [is_kept(store, trace) for trace in traces] == [False, True, False]
    assert done.results == 2
    assert done.kept <= limit
    assert store.traces("key 3") == ()
    assert len(store.traces("key 1")) == 1


def test_what_takes_long_to_rebuild_for_its_size_is_kept_longer(store):
    """A second of work for each megabyte counts as a day of use."""
    quick = record(store, "quick", b"q" * 100_000, days=2, seconds=0.01)
    slow = record(store, "slow", b"s" * 100_000, days=4, seconds=0.5)

    collect(store, Bounds(max_size=collecting_size(store) - 50_000))

    assert (is_kept(store, quick), is_kept(store, slow)) == (False, True)


def collecting_size(store):
    return sum(item.size for item in collecting.list_items(store.root))


def test_age_alone_decides_where_it_is_asked(store):
    """What served no build for longer goes, however small the store."""
    old = record(store, "old", b"old", days=31, seconds=1000)
    young = record(store, "young", b"young", days=29)

    done = collect(store, Bounds(older_than=30 * DAY))

    assert (is_kept(store, old), is_kept(store, young)) == (False, True)
    assert done.results == 1


def test_shared_content_goes_with_the_last_that_needs_it(store):
    """A weight stays as long as one graph refers to it."""
    weight = store.put_bytes(b"weight" * 1000)
    record(store, "first", b"graph 1", days=40, parts=[weight])
    record(store, "second", b"graph 2", days=20, parts=[weight])

    collect(store, Bounds(older_than=30 * DAY))
    is_there_for_the_second = os.path.exists(store.blob_path(weight))
    collect(store, Bounds(older_than=10 * DAY))

    assert is_there_for_the_second
    assert not os.path.exists(store.blob_path(weight))


def test_a_dry_run_removes_nothing(store):
    """It says the same as what is done afterwards."""
    trace = record(store, "key", b"x" * 1000)

    said = collect(store, NOTHING, dry_run=True)
    still_there = is_kept(store, trace)
    done = collect(store, NOTHING)

    assert still_there
    assert (said.results, said.freed, said.files) == (done.results, done.freed, done.files)
    assert not is_kept(store, trace)


def test_what_a_running_build_uses_is_spared(store):
    """What it has looked up, and what it has put since it began, be it new or there before."""
    looked_up = record(store, "looked up", b"looked up")
    other = record(store, "other", b"other")
    before = store.put_bytes(b"there before")
    age(os.path.join(store.root, "blobs"))
    builder = LocalStore(store.root)
    with builder.lease():
        builder.traces("looked up")
        new = builder.put_bytes(b"new")
        builder.put_bytes(b"there before")

        done = collect(store, NOTHING)

        assert is_kept(store, looked_up)
        assert not is_kept(store, other)
        assert os.path.exists(store.blob_path(new))
        assert os.path.exists(store.blob_path(before))
        assert (done.in_use, done.results) == (1, 1)
    builder.close()
    age(os.path.join(store.root, "blobs"))
    collect(store, NOTHING)
    assert not is_kept(store, looked_up)
    assert not os.path.exists(store.blob_path(new))


def test_a_lease_ends_with_its_process(store):
    """A build that was killed keeps nothing."""
    trace = record(store, "key", b"content")
    code = (
        "import os, signal\n"
        "from onnxbuild.stores.local import LocalStore\n"
        f"store = LocalStore({store.root!r})\n"
        "with store.lease():\n"
        "    store.traces('key')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    leases = os.path.join(store.root, "leases")
    assert len(set(os.listdir(leases)) - {"gate", "opening"}) == 1

    collect(store, NOTHING)

    assert not is_kept(store, trace)
    assert set(os.listdir(leases)) <= {"gate", "opening"}


def test_what_stands_behind_a_published_folder_is_spared(store, tmp_path):
    """Until somebody removes the folder; a project may move with its store."""
    trace = record(store, "key", b"published")
    folder = tmp_path / "project" / "artifacts" / "net" / "fp32"
    folder.mkdir(parents=True)
    store.note_variant(str(folder), {"model.onnx": "b3:x"}, [trace])
    store.close()
    moved = tmp_path / "moved"
    (tmp_path / "project").rename(moved)
    store = LocalStore(str(moved / "store"))

    done = collect(store, NOTHING)

    assert is_kept(store, trace)
    assert (done.published, done.results) == (1, 0)
    (moved / "artifacts" / "net" / "fp32").rmdir()
    collect(store, NOTHING)
    assert not is_kept(store, trace)
    assert store.actions.variants() == {}
    store.close()


def test_what_a_build_records_meanwhile_keeps_its_content(store, monkeypatch):
    """A build that ends while a collection is at work may have made a trace of what was there before."""
    monkeypatch.setattr(collecting, "BATCH", 1)
    record(store, "first", b"first", days=3)
    second = record(store, "second", b"second", days=2)
    late = LocalStore(store.root)
    recorded = []

    def record_late(what, path):
        if what == "remove" and not recorded:
            recorded.append(
                Trace(key="late", ingredients={}, observations=(), results=second.results)
            )
            late.record(recorded[0])

    monkeypatch.setattr(points, "at", record_late)
    collect(store, NOTHING)
    late.close()

    assert recorded
    assert is_kept(store, second)
    assert store.traces("second") == ()
    assert store.traces("late") == (recorded[0],)


def test_a_trace_that_was_used_meanwhile_stays(store, monkeypatch):
    """Use counts until the very moment."""
    monkeypatch.setattr(collecting, "BATCH", 1)
    record(store, "first", b"first", days=3)
    second = record(store, "second", b"second", days=2)
    user = LocalStore(store.root)
    monkeypatch.setattr(points, "at", lambda what, _: what == "remove" and user.use([second]))

    collect(store, NOTHING)
    user.close()

    assert is_kept(store, second)
    assert store.traces("second") == (second,)


def test_use_is_told_by_trace(store):
    """An earlier state of the project with the same key grows old while the present one serves."""
    old = record(store, "key", b"old", days=50)
    new = record(store, "key", b"new", days=50)
    assert fingerprint(old) != fingerprint(new)
    store.use([new])

    collect(store, Bounds(older_than=30 * DAY))

    assert (is_kept(store, old), is_kept(store, new)) == (False, True)


BUILDER = """
import sys
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.trace import Trace
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.rows import fingerprint
store = LocalStore(sys.argv[1])
for turn in range(60):
    with store.lease():
        for key in (f"own {sys.argv[2]}", f"shared {turn % 3}"):
            worker = LocalStore(sys.argv[1])
            known = store.traces(key)
            parts = tuple(worker.put_bytes(f"weight {number}".encode() * 900) for number in range(turn % 4))
            digest = worker.put_bytes(key.encode() * 500)
            artifact = Artifact(kind="file", digest=digest, size=1, parts=parts)
            store.record(Trace(key=key, ingredients={}, observations=(), results={"x": artifact}))
            for trace in (*known, *store.traces(key)):
                for artifact in trace.results.values():
                    lost = LocalStore(sys.argv[1]).damaged(artifact)
                    assert not lost, (key, turn, lost)
store.close()
"""


def test_collecting_is_safe_beside_builds(store):
    """Builders that share content, and collections that would remove everything: none misses anything."""
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", BUILDER, store.root, str(number)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]

    removed = 0
    while any(builder.poll() is None for builder in builders):
        removed += collect(store, NOTHING).results

    assert [builder.communicate()[1] for builder in builders] == ["", "", ""]
    assert removed > 0
    assert check(store).damages == ()
