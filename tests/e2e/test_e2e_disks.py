"""Disks that cannot be written, are full, or lack what others have."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
from small_project import onnxbuild

from onnxbuild.engine import publish

pytestmark = pytest.mark.e2e


@pytest.fixture
def mount(tmp_path):
    """Mount something on a folder for the time of a test; skip where that is not allowed."""
    mounted = []

    def attach(folder, *arguments: str) -> None:
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *arguments, folder], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting is not allowed here")
        if folder not in mounted:
            mounted.append(folder)

    yield attach
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def read_only(stamping, mount):
    """A built project whose store lies on a file system that cannot be written."""
    store = stamping / ".onnxbuild"
    mount(store, "--bind", store)
    mount(store, "-o", "remount,ro,bind")
    return stamping


def test_a_store_that_cannot_be_written_serves_what_it_holds(read_only):
    """All is cached, a removed model is published again; nothing is asked of the disk but to be read."""
    published = read_only / "artifacts" / "net" / "own"
    before = (published / "model.onnx").read_bytes()
    shutil.rmtree(published)

    done = onnxbuild("run", "net.yaml", cwd=read_only)
    checked = onnxbuild("cache", "verify", cwd=read_only)
    measured = onnxbuild("cache", "size", cwd=read_only)

    assert done.returncode == 0, done.stderr
    assert " ran" not in done.stdout
    assert (published / "model.onnx").read_bytes() == before
    assert checked.returncode == 0, checked.stdout
    assert measured.returncode == 0, measured.stderr


def test_what_a_killed_build_has_finished_is_served_without_writing(stamping, mount):
    """It lies in sqlite's log only, which is read in a copy."""
    with open(stamping / "own.py", "a", encoding="utf-8") as file:
        file.write("\n\n")
    code = (
        "import os, signal, onnxbuild\n"
        "from onnxbuild.report.delivery import Delivery\n"
        "Delivery.deliver = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "onnxbuild.run('net.yaml', ['settings.executor=inline'])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=stamping, check=False)
    store = stamping / ".onnxbuild"
    assert killed.returncode == -signal.SIGKILL
    assert (store / "actions.sqlite-wal").stat().st_size > 0
    mount(store, "--bind", store)
    mount(store, "-o", "remount,ro,bind")

    done = onnxbuild("run", "net.yaml", cwd=stamping)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" cached")


def test_collecting_makes_room_on_a_full_disk(stamping, mount):
    """What dead builds have left goes before the tables are opened, which needs some room itself."""
    folder = stamping / "small"
    mount(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    store = folder / "store"
    shutil.copytree(stamping / ".onnxbuild", store)
    left = store / "tmp" / "tmpabcdefgh"
    left.write_bytes(bytes(2 << 20))
    os.utime(left, (1, 1))
    with open(folder / "fill", "wb") as file:
        while True:
            try:
                os.write(file.fileno(), bytes(4096))
            except OSError:
                break

    done = onnxbuild("cache", "gc", cwd=stamping, ONNXBUILD_STORE=str(store))

    assert done.returncode == 0, done.stderr
    assert not left.exists()
    assert "2.1 MB" in done.stdout


@pytest.mark.parametrize("executor", ["process", "inline"])
def test_a_step_that_must_run_is_refused_in_words(read_only, executor):
    """It says that the file system is read-only, and where the store may lie instead."""
    with open(read_only / "own.py", "a", encoding="utf-8") as file:
        file.write("\n\n")

    done = onnxbuild("run", "net.yaml", f"settings.executor={executor}", cwd=read_only)
    collected = onnxbuild("cache", "gc", cwd=read_only)

    assert done.returncode == 1
    assert "error: cannot write the store: Read-only file system" in done.stderr
    assert "set settings.store or $ONNXBUILD_STORE to a folder that is not" in done.stderr
    assert collected.returncode == 1
    assert "Read-only file system" in collected.stderr


@pytest.mark.parametrize("size", [120, 250, 1500])
def test_a_full_disk_is_told_and_nothing_is_lost(stamping, mount, size):
    """Whatever of a build fits on the disk: with more space, the next run gives what it should."""
    folder = stamping / "small"
    mount(folder, "-t", "tmpfs", "-o", f"size={size}k", "tmpfs")
    call = ("run", "net.yaml", f"settings.store={folder}/store", "settings.executor=inline")

    full = onnxbuild(*call, cwd=stamping)
    mount(folder, "-o", "remount,size=64m")
    again = onnxbuild(*call, cwd=stamping)
    checked = onnxbuild("cache", "verify", cwd=stamping, ONNXBUILD_STORE=str(folder / "store"))

    assert full.returncode in {0, 1}
    assert full.returncode == 0 or "full" in full.stderr, full.stderr
    assert "Traceback" not in full.stderr
    assert again.returncode == 0, again.stderr
    assert checked.returncode == 0, checked.stdout


def test_a_file_system_without_links_and_exchange_is_enough(tmp_path, monkeypatch):
    """The data of the version before is copied, the folder replaced file by file, and that is said."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(publish, "_exchange", lambda *_: errno.EINVAL)
    target, told = tmp_path / "net" / "fp32", []

    def publish_version(number: int) -> None:
        def fill(folder: str) -> None:
            data = f"model-{number}.onnx.data"
            for name in ("model.onnx", data):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(str(number))
            with open(os.path.join(folder, "build.json"), "w", encoding="utf-8") as file:
                file.write(f'{{"files": {{"model.onnx": {{}}, "{data}": {{}}}}}}')

        publish.replace(str(target), fill, told.append)

    for number in (1, 2, 3):
        publish_version(number)

    assert sorted(path.name for path in target.iterdir()) == [
        "build.json",
        "model-2.onnx.data",
        "model-3.onnx.data",
        "model.onnx",
    ]
    assert (target / "model.onnx").read_text() == "3"
    assert len(told) == 2
    assert "build.json last" in told[0]
