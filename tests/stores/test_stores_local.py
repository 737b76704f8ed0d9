"""The local store."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys

import pytest
from contracts.stores import StoreContract

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.trace import Trace
from onnxbuild.errors import StoreError
from onnxbuild.stores import database, disks
from onnxbuild.stores.database import DamagedCacheError
from onnxbuild.stores.local import LocalStore


class TestLocalStore(StoreContract):
    """The contract, kept by the store in a folder."""

    @pytest.fixture
    def store(self, tmp_path):
        store = LocalStore(str(tmp_path / "store"))
        yield store
        store.close()


@pytest.fixture
def store(tmp_path):
    store = LocalStore(str(tmp_path / "store"))
    yield store
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"X" + content[1:], id="flipped"),
        pytest.param(lambda content: content[:-1], id="truncated"),
        pytest.param(lambda content: b"", id="emptied"),
    ],
)
def test_damage_is_found_and_put_aside(tmp_path, damage):
    """Another process sees damaged content as not there; putting it again repairs it."""
    writer = LocalStore(str(tmp_path))
    model = writer.put_graph(b"graph" * 100, [], 0)
    path = writer.path(model)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        content = damage(file.read())
        file.seek(0)
        file.truncate()
        file.write(content)

    reader = LocalStore(str(tmp_path))

    assert reader.damaged(model) == (model.digest,)
    assert reader.quarantined == [model.digest]
    assert not os.path.exists(path)
    reader.put_graph(b"graph" * 100, [], 0)
    assert reader.damaged(model) == ()


def test_content_is_read_only(store):
    """Blobs cannot be written by accident."""
    digest = store.put_bytes(b"x")

    assert stat.S_IMODE(os.stat(store.blob_path(digest)).st_mode) == 0o444


def test_file_inside_the_store_is_moved(store):
    """What a step wrote into its folder is not copied."""
    with store.folder() as folder:
        path = os.path.join(folder, "made")
        with open(path, "wb") as file:
            file.write(b"made")
        inode = os.stat(path).st_ino
        digest = store.put_file(path)

    assert os.stat(store.blob_path(digest)).st_ino == inode


def test_nothing_temporary_is_left(store):
    """After puts of all kinds no temporary file remains."""
    store.put_bytes(b"x")
    store.put_graph(b"g", [], 0)

    assert os.listdir(os.path.join(store.root, "tmp")) == []


def test_content_is_durable_before_it_has_its_name(store, monkeypatch):
    """Flushed, then renamed, then the folder flushed: a power cut leaves all of it or nothing."""
    calls = []
    sync, rename = os.fsync, os.rename

    def note_sync(handle):
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def note_rename(source, target):
        calls.append("rename")
        rename(source, target)

    store.put_bytes(b"makes the folder")
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    store.put_graph(b"graph", [], 0)

    assert calls == ["file", "rename", "folder"]


def test_folder_that_cannot_be_made_is_said(tmp_path):
    """A store below a file is refused in words."""
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match="cannot write the store"):
        LocalStore(str(tmp_path / "file" / "store"))


def test_store_of_another_layout_is_refused(tmp_path):
    """A store that a later onnxbuild wrote is left alone."""
    store = LocalStore(str(tmp_path))
    store.traces("b3:x")
    store.actions._connect().execute("PRAGMA user_version=99")
    store.close()

    with pytest.raises(StoreError, match="layout 99"):
        LocalStore(str(tmp_path)).traces("b3:x")


def test_store_on_a_network_file_system_is_refused(tmp_path, monkeypatch):
    """Locks do not hold there; a local disk mounted inside it is fine."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"disk / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\ndisk {tmp_path}/local ext4 rw 0 0\n"
    )
    monkeypatch.setattr(disks, "MOUNTS", str(mounts))
    store = LocalStore(str(tmp_path / "local" / "store"))

    with pytest.raises(StoreError, match="network file system"):
        LocalStore(str(tmp_path / "store")).traces("b3:x")
    found = store.traces("b3:x")

    assert found == ()
    store.close()


def test_claim_of_a_dead_process_is_free(tmp_path):
    """A claim ends with the process that held it, even by kill -9."""
    code = (
        "import os, signal\n"
        "from onnxbuild.stores.local import LocalStore\n"
        f"claim = LocalStore({str(tmp_path)!r}).claim('b3:key')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)

    claim = LocalStore(str(tmp_path)).claim("b3:key")

    assert claim.holder == ""
    claim.release()


def test_digests_of_files_are_remembered(store):
    """What was remembered of a file comes back."""
    store.remember_files({"/a": ((1, 2, 3, 4), "b3:a")})

    assert store.known_files() == {"/a": ((1, 2, 3, 4), "b3:a")}


@pytest.mark.parametrize("size", [100, 5000])
def test_damaged_action_cache_is_said_and_put_aside(tmp_path, size):
    """A file that is no database, or only a part of one, is named; put aside, it makes way for a new one."""
    store = LocalStore(str(tmp_path))
    store.record(make_trace("b3:x"))
    store.close()
    path = tmp_path / "actions.sqlite"
    path.write_bytes((b"garbage" * size)[:size] if size < 1000 else path.read_bytes()[:size])

    with pytest.raises(DamagedCacheError, match="action cache is damaged"):
        store.traces("b3:x")
    aside = store.set_aside()

    assert os.path.getsize(aside) == size
    assert store.traces("b3:x") == ()
    store.record(make_trace("b3:x"))
    assert len(store.traces("b3:x")) == 1
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("replace(body, '0.5', '0.7')", id="changed"),
        pytest.param("substr(body, 1, 100)", id="cut"),
        pytest.param("''", id="emptied"),
    ],
)
def test_damaged_trace_is_dropped(store, damage):
    """A trace whose text is not what was written is never used, and noted."""
    store.record(make_trace("b3:x"))
    with sqlite3.connect(os.path.join(store.root, "actions.sqlite")) as connection:
        connection.execute(f"UPDATE traces SET body = {damage}")

    found = store.traces("b3:x")

    assert found == ()
    assert store.actions.dropped == {"b3:x"}
    assert store.traces("b3:x") == ()
    assert store.actions.dropped == {"b3:x"}


def make_trace(key: str) -> Trace:
    return Trace(key=key, ingredients={}, observations=(), results={}, seconds=0.5)


def test_a_claim_never_lacks_the_name_of_its_holder(tmp_path):
    """However close two builds come: who finds a claim taken can say by which process."""
    store = LocalStore(str(tmp_path))
    code = (
        "from onnxbuild.stores.local import LocalStore\n"
        f"store = LocalStore({str(tmp_path)!r})\n"
        "for _ in range(2000):\n"
        "    claim = store.claim('b3:key')\n"
        "    print(claim.holder or 'mine')\n"
        "    claim.release()\n"
    )

    builds = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    holders = {line for build in builds for line in build.communicate()[0].splitlines()}

    assert all(build.returncode == 0 for build in builds)
    assert "mine" in holders
    processes = {f"process {build.pid} on {os.uname().nodename}" for build in builds}
    assert holders - {"mine"}
    assert holders - {"mine"} <= processes
    store.close()


def test_a_store_keeps_itself_out_of_git(tmp_path):
    """One that is made ignores itself; a folder that was there before is not touched."""
    (tmp_path / "mine").mkdir()

    LocalStore(str(tmp_path / "made")).close()
    LocalStore(str(tmp_path / "mine")).close()

    assert (tmp_path / "made" / ".gitignore").read_text() == "*\n"
    assert not (tmp_path / "mine" / ".gitignore").exists()


def test_a_store_that_cannot_be_written_can_be_read(tmp_path, monkeypatch):
    """Explaining needs no more; a build says in words what it lacks."""
    store = LocalStore(str(tmp_path))
    store.record(make_trace("b3:x"))
    store.close()
    monkeypatch.setattr(os, "access", lambda *_: False)

    store = LocalStore(str(tmp_path))

    assert store.traces("b3:x") == (make_trace("b3:x"),)
    with pytest.raises(StoreError, match="readonly"):
        store.record(make_trace("b3:x"))
    store.close()


def test_a_full_disk_is_called_that(tmp_path, monkeypatch):
    """What sqlite says of it is "disk I/O error"."""
    monkeypatch.setattr(database, "is_full", lambda _: True)
    store = LocalStore(str(tmp_path))
    store.actions._connect().execute("PRAGMA query_only=1")

    with pytest.raises(StoreError, match="cannot use the action cache: the disk is full"):
        store.record(make_trace("b3:x"))
    store.close()


def test_names_that_are_no_text_are_not_remembered(store):
    """File systems allow any bytes; sqlite does not."""
    store.remember_files({"/\udcff": ((1, 2, 3, 4), "b3:a"), "/b": ((1, 2, 3, 4), "b3:b")})

    assert store.known_files() == {"/b": ((1, 2, 3, 4), "b3:b")}


def test_a_folder_with_other_things_is_no_store(tmp_path):
    """It is refused in words, and nothing is made in it."""
    (tmp_path / "report.pdf").write_text("mine")
    (tmp_path / "tmp").mkdir()

    with pytest.raises(StoreError, match=r"no store, and holds other things: report\.pdf"):
        LocalStore(str(tmp_path))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.pdf", "tmp"]


def test_files_are_durable_before_anybody_is_told(store, monkeypatch):
    """What a step wrote is flushed before it has its digest for a name, and commits wait for the disk."""
    flushed, sync = set(), os.fsync

    def note(handle):
        flushed.add(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    with store.folder() as folder:
        path = os.path.join(folder, "made")
        with open(path, "wb") as file:
            file.write(b"made")
        digest = store.put_file(path)

    assert os.stat(store.blob_path(digest)).st_ino in flushed
    assert store.actions.ask("PRAGMA synchronous") == [(2,)]


def test_a_folder_in_the_place_of_content_is_damage(store):
    """It goes to quarantine, and putting again repairs."""
    digest = store.put_bytes(b"content")
    os.unlink(store.blob_path(digest))
    os.makedirs(os.path.join(store.blob_path(digest), "deeper"))
    artifact = Artifact(kind="file", digest=digest, size=7)

    reader = LocalStore(store.root)

    assert reader.damaged(artifact) == (digest,)
    assert reader.quarantined == [digest]
    reader.put_bytes(b"content")
    assert reader.damaged(artifact) == ()
