"""The file layer: what is appended block by block, and what it says of a refusal."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from onnxbuild.core import files


def append(folder: Path, content: bytes) -> bytes:
    """Append `content` behind a page of something else, and read the whole."""
    source = folder / "source"
    source.write_bytes(content)
    with open(folder / "target", "wb") as file:
        file.write(b"-" * 4096)
        files.append(str(source), file)
        file.write(b"end")
    return (folder / "target").read_bytes()


def refuse(*_: object) -> int:
    raise OSError(errno.EXDEV, "other disk")


def half(source: int, target: int, count: int, offset: int, start: int) -> int:
    """Copy half of what was asked, as a kernel may."""
    return os.pwrite(target, os.pread(source, max(1, count // 2), offset), start)


@pytest.mark.parametrize("kernel", [None, refuse, half], ids=["as it is", "refuses", "by halves"])
@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_001])
def test_a_file_is_appended_whole(tmp_path, monkeypatch, kernel, size):
    """Whatever the kernel does of it."""
    if kernel is not None:
        monkeypatch.setattr(os, "copy_file_range", kernel)
    content = os.urandom(size)

    assert append(tmp_path, content) == b"-" * 4096 + content + b"end"


def test_a_kernel_that_fails_is_not_taken_for_one_that_cannot(tmp_path, monkeypatch):
    """A full disk is told."""

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", fail)

    with pytest.raises(OSError, match="full"):
        append(tmp_path, b"x" * 5000)


@pytest.fixture
def cloning(tmp_path):
    """A small disk whose file system clones blocks."""
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(400 << 20)
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("mkfs.xfs is not installed")
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, mount], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_blocks_are_shared_where_the_file_system_can(cloning):
    """A published model's external data take no space of their own beside the store's."""
    before = os.statvfs(cloning)
    content = os.urandom(50 << 20)

    found = append(cloning, content)

    os.sync()
    after = os.statvfs(cloning)
    used = (before.f_bfree - after.f_bfree) * after.f_frsize
    assert found == b"-" * 4096 + content + b"end"
    assert used < len(content) * 1.2
