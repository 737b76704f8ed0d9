"""The sqlite file of a store: opened once, read where it cannot be written, and what fails said in words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from onnxbuild.core import points
from onnxbuild.errors import StoreError
from onnxbuild.stores.disks import is_full, network_of
from onnxbuild.stores.leases import FOLDER, OPENING
from onnxbuild.stores.locks import locked

LAYOUT = 1
"""Changes when the tables do; a store with another layout is refused in words."""

TABLES = """
CREATE TABLE IF NOT EXISTS traces (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    body TEXT NOT NULL,
    used REAL NOT NULL,
    UNIQUE (key, fingerprint)
);
CREATE TABLE IF NOT EXISTS costs (
    key TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    seconds REAL NOT NULL, memory INTEGER NOT NULL, stored INTEGER NOT NULL, made REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS costs_by_run ON costs (run, made);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latest (
    recipe TEXT NOT NULL, label TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (recipe, label)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
    recipe TEXT NOT NULL, label TEXT NOT NULL, status TEXT NOT NULL, log TEXT NOT NULL, made REAL NOT NULL,
    PRIMARY KEY (recipe, label)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS variants (
    folder TEXT PRIMARY KEY,
    files TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published (
    identity TEXT PRIMARY KEY,
    files TEXT NOT NULL
) WITHOUT ROWID;
"""

DAMAGED = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR}
)
"""What sqlite says of a file whose content is not what it wrote; what we ask it is always the same, so that an
error of language means tables that are not ours."""

LAYOUTS = 256
"""More than there will ever be: a number above it was not written by any onnxbuild."""

SPARSE = 0.25
"""Share of free pages from which the file is written anew."""


class DamagedCacheError(StoreError):
    """The file of the action cache is damaged. `Actions.set_aside` makes way for a new one."""


class Database:
    """The sqlite file of one store."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_writable = not os.path.exists(path) or os.access(path, os.W_OK)
        """Where it is not, it is read, and what is only noted for later is left out."""
        self._connection: sqlite3.Connection | None = None
        self._met = 0
        """The inode of the file that was opened."""
        self._copy: tempfile.TemporaryDirectory[str] | None = None

    def set_aside(self, folder: str) -> str:
        """Move the file, damaged as it is, into `folder`, and give its new path. What it knew is lost.

        Empty where another process has done so meanwhile: what is there now is another file.
        """
        self.close()
        with self._opening():
            if _inode(self.path) != self._met:
                return ""
            number = 0
            while os.path.lexists(target := os.path.join(folder, f"actions-{number}.sqlite")):
                number += 1
            # The file itself last: until it is gone, whoever comes finds the damage, and does this again.
            for ending in ("-shm", "-wal", ""):
                points.at("rename", self.path + ending)
                with suppress(FileNotFoundError):
                    os.rename(self.path + ending, target + ending)
        return target

    def _opening(self) -> AbstractContextManager[None]:
        """Be the only one who opens the file, or puts it aside."""
        return locked(os.path.join(os.path.dirname(self.path), FOLDER, OPENING))

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Give the open file; what sqlite cannot do with it is said in words."""
        try:
            yield self._connect()
        except sqlite3.DatabaseError as error:
            if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in DAMAGED:
                raise self._damaged(str(error)) from error
            full = is_full(os.path.dirname(self.path))
            raise StoreError(
                f"cannot use the action cache: {'the disk is full' if full else error}",
                where=self.path,
                hint="free space, or set settings.store to a folder on another disk"
                if full
                else "the store needs a local disk that can be written and is not full; see settings.store",
            ) from error

    def _damaged(self, how: str) -> DamagedCacheError:
        return DamagedCacheError(
            f"the action cache is damaged: {how}",
            where=self.path,
            hint="`onnxbuild run` puts it aside and builds anew; the models in the store are kept",
        )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of it or nothing."""
        with self.connected() as connection, connection:
            points.at("commit", self.path)
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def note(self, question: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Write what only spares work later: not where the file cannot be written."""
        if self.is_writable:
            with self.transaction() as connection:
                connection.executemany(question, rows)

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Give the rows that answer a question."""
        with self.connected() as connection:
            return connection.execute(question, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            network = network_of(os.path.dirname(self.path))
            if network:
                raise StoreError(
                    f"the store lies on a network file system ({network}), where its locks do not hold",
                    where=os.path.dirname(self.path),
                    hint="set settings.store or $ONNXBUILD_STORE to a folder on a local disk",
                )
            connection = sqlite3.connect(
                self._address(),
                uri=True,
                timeout=60,
                isolation_level=None,
                check_same_thread=False,
            )
            # A flipped bit that makes text no text is found by the digest of what it stands in.
            connection.text_factory = lambda content: content.decode("utf-8", "replace")
            try:
                if self.is_writable:
                    # Turning a new file into one with a log waits for nobody: one at a time.
                    with self._opening():
                        self._prepare(connection)
                else:
                    self._check_layout(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _address(self) -> str:
        self._met = _inode(self.path)
        if self.is_writable:
            return f"file:{_quote(self.path)}?mode=rwc"
        log = self.path + "-wal"
        if not (os.path.exists(log) and os.path.getsize(log)):
            return f"file:{_quote(self.path)}?immutable=1"
        # What a build that was killed has left in the log is read in a copy: sqlite must write to read it.
        self._copy = tempfile.TemporaryDirectory(prefix="onnxbuild-")
        copy = os.path.join(self._copy.name, os.path.basename(self.path))
        for ending in ("", "-wal"):
            shutil.copyfile(self.path + ending, copy + ending)
        return f"file:{_quote(copy)}?mode=rw"

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: a finished step survives a power cut, at 1 ms each.
        connection.execute("PRAGMA synchronous=FULL")
        self._check_layout(connection)
        connection.executescript(TABLES)
        if connection.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            connection.execute(f"PRAGMA user_version={LAYOUT}")

    def _check_layout(self, connection: sqlite3.Connection) -> None:
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= layout < LAYOUTS:
            raise self._damaged(f"its layout is said to be {layout}")
        if layout not in {0, LAYOUT}:
            raise StoreError(
                f"the store has layout {layout}, this onnxbuild reads {LAYOUT}",
                where=self.path,
                hint="use the onnxbuild that wrote it, or another folder as settings.store",
            )

    def compact(self) -> None:
        """Give back the disk space of removed rows, where that is a good part of the file."""
        free, pages = (
            self.ask(f"PRAGMA {name}")[0][0] for name in ("freelist_count", "page_count")
        )
        if free > pages * SPARSE:
            self.ask("VACUUM")
        self.ask("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _quote(path: str) -> str:
    """Write a path as sqlite's addresses need it. Not `urllib`: it takes 6 ms to import."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
