"""The action cache: traces by key, and what is remembered of files, in one sqlite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.trace import Trace
from onnxbuild.core.values import plain
from onnxbuild.errors import StoreError

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


class Actions:
    """The sqlite file of one store."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                connection = sqlite3.connect(
                    self._path, timeout=60, isolation_level=None, check_same_thread=False
                )
                connection.execute("PRAGMA journal_mode=WAL")
                # FULL: a finished step survives a power cut, at 1 ms each.
                connection.execute("PRAGMA synchronous=FULL")
                layout = connection.execute("PRAGMA user_version").fetchone()[0]
                if layout not in {0, LAYOUT}:
                    raise StoreError(
                        f"the store has layout {layout}, this onnxbuild reads {LAYOUT}",
                        where=self._path,
                        hint="use the onnxbuild that wrote it, or another folder as settings.store",
                    )
                connection.executescript(TABLES)
                connection.execute(f"PRAGMA user_version={LAYOUT}")
            except sqlite3.OperationalError as error:
                raise StoreError(
                    f"cannot open the action cache: {error}",
                    where=self._path,
                    hint="the store needs a local disk that can be written; see settings.store",
                ) from error
            self._connection = connection
        return self._connection

    def traces(self, key: str) -> tuple[Trace, ...]:
        """Give all traces of a key, oldest first."""
        rows = self._connect().execute(
            "SELECT body FROM traces WHERE key = ? ORDER BY number", (key,)
        )
        return tuple(read_trace(json.loads(body)) for (body,) in rows)

    def record(self, trace: Trace) -> None:
        """Keep a trace, once: the same observations and results are the same trace."""
        fingerprint = json.dumps(
            [plain(trace.observations), plain(trace.results), trace.grown], sort_keys=True
        )
        from onnxbuild.core.digest import digest_bytes

        self._connect().execute(
            "INSERT INTO traces (key, fingerprint, body, used) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key, fingerprint) DO UPDATE SET body = excluded.body, used = excluded.used",
            (
                trace.key,
                digest_bytes(fingerprint.encode()),
                json.dumps(plain(trace)),
                trace.made,
            ),
        )

    def forget(self, key: str) -> int:
        """Drop all traces of a key and give their number."""
        return self._connect().execute("DELETE FROM traces WHERE key = ?", (key,)).rowcount

    def touch(self, keys: Iterable[str], now: float) -> None:
        """Note that traces were used, in one transaction."""
        connection = self._connect()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE traces SET used = ? WHERE key = ?", [(now, key) for key in keys]
            )

    def latest(self, recipe: str) -> dict[str, str]:
        """Give, by label, the key under which each step of a recipe was last built."""
        rows = self._connect().execute(
            "SELECT label, key FROM latest WHERE recipe = ?", (recipe,)
        )
        return dict(rows.fetchall())

    def note_latest(self, recipe: str, keys: Mapping[str, str]) -> None:
        """Remember the key of each step of a recipe, by label."""
        connection = self._connect()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO latest (recipe, label, key) VALUES (?, ?, ?)",
                [(recipe, label, key) for label, key in keys.items()],
            )

    def recipes(self) -> list[str]:
        """List the names of the recipes that were built here."""
        rows = self._connect().execute("SELECT DISTINCT recipe FROM latest ORDER BY recipe")
        return [name for (name,) in rows]

    def logs(self, recipe: str) -> dict[str, LogEntry]:
        """Give, by label, what each step of a recipe printed when it last ran: (status, digest, when)."""
        rows = self._connect().execute(
            "SELECT label, status, log, made FROM logs WHERE recipe = ?", (recipe,)
        )
        return {label: (status, log, made) for label, status, log, made in rows}

    def note_logs(self, recipe: str, entries: Mapping[str, LogEntry]) -> None:
        """Remember what steps of a recipe printed, by label; those that failed too."""
        connection = self._connect()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO logs (recipe, label, status, log, made) VALUES (?, ?, ?, ?, ?)",
                [(recipe, label, *entry) for label, entry in entries.items()],
            )

    def published(self, identity: str) -> dict[str, tuple[str, int]] | None:
        """Give the files that publishing a model once made: name -> (digest, bytes)."""
        row = self._connect().execute(
            "SELECT files FROM published WHERE identity = ?", (identity,)
        ).fetchone()
        if row is None:
            return None
        return {name: (digest, size) for name, (digest, size) in json.loads(row[0]).items()}

    def note_published(self, identity: str, made: Mapping[str, tuple[str, int]]) -> None:
        """Remember which files publishing a model makes."""
        self._connect().execute(
            "INSERT OR REPLACE INTO published (identity, files) VALUES (?, ?)",
            (identity, json.dumps(dict(made))),
        )

    def known_files(self) -> dict[str, tuple[Signature, str]]:
        """Give all remembered digests: absolute path -> (signature, digest)."""
        rows = self._connect().execute(
            "SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM files"
        )
        return {row[0]: ((row[1], row[2], row[3], row[4]), row[5]) for row in rows}

    def remember_files(self, known: Mapping[str, tuple[Signature, str]]) -> None:
        """Remember digests of files whose signature has settled."""
        if not known:
            return
        connection = self._connect()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
                [(path, *seen, digest) for path, (seen, digest) in known.items()],
            )

    def all_traces(self) -> list[Trace]:
        """Give every trace, oldest first."""
        rows = self._connect().execute("SELECT body FROM traces ORDER BY number")
        return [read_trace(json.loads(body)) for (body,) in rows]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


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


