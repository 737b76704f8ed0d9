"""Leases: a running build's word to `gc` about what it uses, and the gate between the two.

A lease is a file below ``leases/`` that its build keeps locked, so that it ends with the process. Its
first line says since when it holds, in nanoseconds of the store's disk; each further line is a key that
the build has looked up. The gate is a lock that whoever uses content shares for a moment, and that a
collection has alone while it removes: so it sees every look-up, and every touch, that came before.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import AbstractContextManager
from dataclasses import dataclass

from onnxbuild.core import points
from onnxbuild.stores.locks import locked

FOLDER = "leases"
GATE = "gate"
"""Name of the gate's file in the folder of leases."""
OPENING = "opening"
"""Name of the file there that whoever opens the action cache locks."""
NO_LEASES = frozenset({GATE, OPENING})
NAME = re.compile("[0-9]+-[0-9a-f]{8}")
"""What the names of leases look like: a process, and chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the builds that run now hold."""

    since: int | None
    """Nanoseconds at which the oldest of them began; None when none runs."""

    keys: frozenset[str]
    """The keys that they have looked up."""


class Lease:
    """One build's lease, from its making to its release."""

    def __init__(self, store: str) -> None:
        """Take a lease on the store in that folder. Raises `OSError`."""
        with alone(store):
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            self._path = os.path.join(store, FOLDER, name)
            points.at("create", self._path)
            # Not inherited: a child that outlives its build must not keep the lease.
            self._handle = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
            )
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            # The disk's own clock, which the times of its files come from.
            os.write(self._handle, f"{os.fstat(self._handle).st_mtime_ns}\n".encode())

    def note(self, key: str) -> None:
        """Say that `key` is about to be looked up. To be called with the gate shared."""
        os.write(self._handle, f"{key}\n".encode())

    def release(self) -> None:
        """Give it back."""
        os.unlink(self._path)
        os.close(self._handle)


def shared(store: str) -> AbstractContextManager[None]:
    """Keep collections from removing anything for a moment."""
    return locked(os.path.join(store, FOLDER, GATE), shared=True)


def alone(store: str) -> AbstractContextManager[None]:
    """Keep everybody from looking anything up for a moment."""
    return locked(os.path.join(store, FOLDER, GATE))


def find_held(store: str) -> Held:
    """Say what running builds hold, and remove the leases of dead ones. To be called with the gate alone."""
    folder = os.path.join(store, FOLDER)
    since: list[int] = []
    keys: set[str] = set()
    for name in sorted(os.listdir(folder)):
        if not NAME.fullmatch(name):
            continue
        path = os.path.join(folder, name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Released just now.
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        except FileNotFoundError:
            continue
        except BlockingIOError:
            status = os.fstat(handle)
            began, *looked_up = os.pread(handle, status.st_size, 0).decode().splitlines() or [""]
            # One that could not be written whole, since the disk was full, holds from when it was made.
            since.append(int(began) if began.isdecimal() else status.st_mtime_ns)
            keys.update(looked_up)
        finally:
            os.close(handle)
    return Held(since=min(since, default=None), keys=frozenset(keys))
