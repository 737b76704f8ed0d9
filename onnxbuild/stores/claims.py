"""Claims on action keys: file locks that vanish with the process that holds them."""

from __future__ import annotations

import fcntl
import os

from onnxbuild.stores.locks import locked

LOCK = "lock"
"""Name of the file in the folder of claims that is locked while one is taken."""


class FileClaim:
    """The right to run one action key, as a lock on a file of its name."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle: int | None = None
        self.holder = ""
        # One process at a time claims, so that nobody finds a claim whose holder has not put its name in.
        with locked(os.path.join(os.path.dirname(path), LOCK)):
            self._take()

    def _take(self) -> None:
        while True:
            # Never inherited: a child that outlives us must not keep the lock.
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.holder = os.pread(handle, 256, 0).decode(errors="replace") or "another build"
                os.close(handle)
                return
            if _is_at(handle, self._path):
                break
            os.close(handle)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        self._handle = handle

    def wait(self) -> None:
        """Block until the holder has released the lock, or died."""
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        finally:
            os.close(handle)

    def release(self) -> None:
        """Give it back. The file goes first, so that no one can lock a name that is about to vanish."""
        if self._handle is None:
            return
        os.unlink(self._path)
        os.close(self._handle)
        self._handle = None


def _is_at(handle: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
