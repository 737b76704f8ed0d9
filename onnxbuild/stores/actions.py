"""The action cache: traces by key, and what is remembered of files, in one sqlite file."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.trace import Trace
from onnxbuild.core.values import plain
from onnxbuild.errors import StoreError
from onnxbuild.stores.disks import is_full, network_of

Signature: TypeAlias = tuple[int, int, int, int]
LogEntry: TypeAlias = tuple[str, str, float]
"""How a step ended (``ran`` or ``failed``), the digest of what it printed, and when."""

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
CREATE TABLE IF NOT EXISTS published (
    identity TEXT PRIMARY KEY,
    files TEXT NOT NULL
) WITHOUT ROWID;
"""


DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What sqlite says of a file whose content is not what it wrote."""


class DamagedCacheError(StoreError):
    """The file of the action cache is damaged. `Actions.set_aside` makes way for a new one."""


class Actions:
    """The sqlite file of one store."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self.dropped = 0
        """Traces that were damaged, and are no more."""

    def set_aside(self, folder: str) -> str:
        """Move the file, damaged as it is, into `folder`; give its new path. What it knew is lost."""
        self.close()
        number = 0
        while os.path.lexists(target := os.path.join(folder, f"actions-{number}.sqlite")):
            number += 1
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(self._path + ending, target + ending)
        return target

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Give the open file; what sqlite cannot do with it is said in words."""
        try:
            yield self._connect()
        except sqlite3.DatabaseError as error:
            if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in DAMAGED:
                raise DamagedCacheError(
                    f"the action cache is damaged: {error}",
                    where=self._path,
                    hint="`onnxbuild run` puts it aside and builds anew; the models in the store are kept",
                ) from error
            full = is_full(os.path.dirname(self._path))
            raise StoreError(
                f"cannot use the action cache: {'the disk is full' if full else error}",
                where=self._path,
                hint="free space, or set settings.store to a folder on another disk"
                if full
                else "the store needs a local disk that can be written and is not full; see settings.store",
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connected() as connection:
            return connection.execute(question, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            network = network_of(os.path.dirname(self._path))
            if network:
                raise StoreError(
                    f"the store lies on a network file system ({network}), where its locks do not hold",
                    where=os.path.dirname(self._path),
                    hint="set settings.store or $ONNXBUILD_STORE to a folder on a local disk",
                )
            # A file that cannot be written can be read: whoever looks needs no more.
            only_read = os.path.exists(self._path) and not os.access(self._path, os.W_OK)
            connection = sqlite3.connect(
                f"file:{_quote(self._path)}?{'immutable=1' if only_read else 'mode=rwc'}",
                uri=True,
                timeout=60,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                if only_read:
                    self._check_layout(connection)
                else:
                    self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: a finished step survives a power cut, at 1 ms each.
        connection.execute("PRAGMA synchronous=FULL")
        self._check_layout(connection)
        connection.executescript(TABLES)
        connection.execute(f"PRAGMA user_version={LAYOUT}")

    def _check_layout(self, connection: sqlite3.Connection) -> None:
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout not in {0, LAYOUT}:
            raise StoreError(
                f"the store has layout {layout}, this onnxbuild reads {LAYOUT}",
                where=self._path,
                hint="use the onnxbuild that wrote it, or another folder as settings.store",
            )

    def traces(self, key: str) -> tuple[Trace, ...]:
        """Give all traces of a key, oldest first. A damaged one is dropped, and counted."""
        rows = self._ask("SELECT number, body FROM traces WHERE key = ? ORDER BY number", key)
        found = [(number, read_whole(key, body)) for number, body in rows]
        for number in [number for number, trace in found if trace is None]:
            self._ask("DELETE FROM traces WHERE number = ?", number)
            self.dropped += 1
        return tuple(trace for _, trace in found if trace is not None)

    def record(self, trace: Trace) -> None:
        """Keep a trace, once: the same observations and results are the same trace."""
        body = plain(trace)
        told = [body["observations"], body["results"], body["grown"]]
        fingerprint = digest_bytes(json.dumps(told, sort_keys=True).encode())
        text = json.dumps(body)
        self._ask(
            "INSERT INTO traces (key, fingerprint, body, used) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key, fingerprint) DO UPDATE SET body = excluded.body, used = excluded.used",
            trace.key,
            fingerprint,
            digest_bytes(text.encode()) + text,
            trace.made,
        )

    def latest(self, recipe: str) -> dict[str, str]:
        """Give, by label, the key under which each step of a recipe was last built."""
        rows = self._ask("SELECT label, key FROM latest WHERE recipe = ?", recipe)
        return {str(label): str(key) for label, key in rows}

    def note_latest(self, recipe: str, keys: Mapping[str, str]) -> None:
        """Remember the key of each step of a recipe, by label."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO latest (recipe, label, key) VALUES (?, ?, ?)",
                [(recipe, label, key) for label, key in keys.items()],
            )

    def recipes(self) -> list[str]:
        """List the names of the recipes that were built here."""
        rows = self._ask("SELECT DISTINCT recipe FROM latest ORDER BY recipe")
        return [name for (name,) in rows]

    def logs(self, recipe: str) -> dict[str, LogEntry]:
        """Give, by label, what each step of a recipe printed when it last ran: (status, digest, when)."""
        rows = self._ask("SELECT label, status, log, made FROM logs WHERE recipe = ?", recipe)
        return {label: (status, log, made) for label, status, log, made in rows}

    def note_logs(self, recipe: str, entries: Mapping[str, LogEntry]) -> None:
        """Remember what steps of a recipe printed, by label; those that failed too."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO logs (recipe, label, status, log, made) VALUES (?, ?, ?, ?, ?)",
                [(recipe, label, *entry) for label, entry in entries.items()],
            )

    def published(self, identity: str) -> dict[str, tuple[str, int]] | None:
        """Give the files that publishing a model once made: name -> (digest, bytes)."""
        rows = self._ask("SELECT files FROM published WHERE identity = ?", identity)
        if not rows:
            return None
        return {name: (digest, size) for name, (digest, size) in json.loads(rows[0][0]).items()}

    def note_published(self, identity: str, made: Mapping[str, tuple[str, int]]) -> None:
        """Remember which files publishing a model makes."""
        self._ask(
            "INSERT OR REPLACE INTO published (identity, files) VALUES (?, ?)",
            identity,
            json.dumps(dict(made)),
        )

    def known_files(self) -> dict[str, tuple[Signature, str]]:
        """Give all remembered digests: absolute path -> (signature, digest)."""
        rows = self._ask("SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM files")
        return {row[0]: ((row[1], row[2], row[3], row[4]), row[5]) for row in rows}

    def remember_files(self, known: Mapping[str, tuple[Signature, str]]) -> None:
        """Remember digests of files whose signature has settled."""
        if not known:
            return
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
                # A name that is no text cannot be kept: such a file is digested anew each time.
                [(path, *seen, digest) for path, (seen, digest) in known.items() if is_text(path)],
            )

    def all_traces(self) -> list[Trace]:
        """Give every trace, oldest first."""
        rows = self._ask("SELECT key, body FROM traces ORDER BY number")
        return [trace for row in rows if (trace := read_whole(*row)) is not None]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _quote(path: str) -> str:
    """Write a path as sqlite's addresses need it. Not `urllib`: it takes 6 ms to import."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def is_text(path: str) -> bool:
    """Tell whether a path is text: file systems allow any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_whole(key: str, body: str) -> Trace | None:
    """Read a trace, which stands behind the digest of its text; None where they do not agree."""
    start = body.find("{")
    if start < 0 or body[:start] != digest_bytes(body[start:].encode("utf-8", "surrogatepass")):
        return None
    trace = read_trace(json.loads(body[start:]))
    return trace if trace.key == key else None


def read_trace(data: dict[str, Any]) -> Trace:
    """Read a trace from plain values."""
    return Trace(
        key=data["key"],
        ingredients=data["ingredients"],
        observations=tuple((kind, name, value) for kind, name, value in data["observations"]),
        results={name: read_artifact(value) for name, value in data["results"].items()},
        grown=data["grown"],
        log=data["log"],
        seconds=data["seconds"],
        memory=data["memory"],
        made=data["made"],
        build=data["build"],
        notes=data["notes"],
    )


def read_artifact(data: dict[str, Any]) -> Artifact:
    """Read an artifact from plain values."""
    return Artifact(
        kind=data["kind"],
        digest=data["digest"],
        size=data["size"],
        parts=tuple(data["parts"]),
        inline=data["inline"],
    )
