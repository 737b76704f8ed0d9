"""The action cache: traces by key, and what is remembered of files, in one sqlite file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from onnxbuild.core.trace import Trace
from onnxbuild.core.values import plain
from onnxbuild.engine.forecast import Cost
from onnxbuild.stores.database import Database
from onnxbuild.stores.rows import (
    PublishedVariant,
    fingerprint,
    read_variant,
    read_whole,
    seal,
    unseal,
)

Signature: TypeAlias = tuple[int, int, int, int]
LogEntry: TypeAlias = tuple[str, str, float]
"""How a step ended (``ran`` or ``failed``), the digest of what it printed, and when."""

LIKES = 20
"""Steps with the same function whose costs are averaged for one that never ran."""


class Actions(Database):
    """What the tables of a store's sqlite file say."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.dropped: set[str] = set()
        """Keys of traces that were damaged, and are no more."""

    def traces(self, key: str) -> tuple[Trace, ...]:
        """Give all traces of a key, oldest first. A damaged one is dropped, and noted."""
        rows = self.ask("SELECT number, body FROM traces WHERE key = ? ORDER BY number", key)
        found = [(number, read_whole(key, body)) for number, body in rows]
        damaged = [(number,) for number, trace in found if trace is None]
        if damaged:
            self.note("DELETE FROM traces WHERE number = ?", damaged)
            self.dropped.add(key)
        return tuple(trace for _, trace in found if trace is not None)

    def record(self, trace: Trace) -> None:
        """Keep a trace, once: the same observations and results are the same trace."""
        row = (trace.key, fingerprint(trace), seal(plain(trace)), trace.made)
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO traces (key, fingerprint, body, used) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key, fingerprint) DO UPDATE SET body = excluded.body, used = excluded.used",
                row,
            )
            connection.execute(
                "INSERT OR REPLACE INTO costs (key, run, seconds, memory, stored, made)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    trace.key,
                    str(trace.ingredients.get("run", "")),
                    trace.seconds,
                    trace.memory,
                    trace.stored,
                    trace.made,
                ),
            )

    def use(self, traces: Iterable[Trace]) -> None:
        """Note that these traces served a build just now: what was not used for long is collected first."""
        rows = [(time.time(), trace.key, fingerprint(trace)) for trace in traces]
        self.note("UPDATE traces SET used = ? WHERE key = ? AND fingerprint = ?", rows)

    def cost(self, key: str) -> Cost | None:
        """Give what the step with a key took when it last ran."""
        return _read_cost(self.ask("SELECT seconds, memory, stored FROM costs WHERE key = ?", key))

    def cost_of_likes(self, run: str) -> Cost | None:
        """Give what the last steps with a function took on average."""
        return _read_cost(
            self.ask(
                "SELECT avg(seconds), avg(memory), avg(stored) FROM"
                " (SELECT * FROM costs WHERE run = ? ORDER BY made DESC LIMIT ?) HAVING count(*)",
                run,
                LIKES,
            )
        )

    def note_cost(self, run: str, seconds: float) -> None:
        """Remember what something that is no step took."""
        self.note(
            "INSERT OR REPLACE INTO costs (key, run, seconds, memory, stored, made)"
            " VALUES (?, ?, ?, 0, 0, ?)",
            [(run, run, seconds, time.time())],
        )

    def latest(self, recipe: str) -> dict[str, str]:
        """Give, by label, the key under which each step of a recipe was last built."""
        rows = self.ask("SELECT label, key FROM latest WHERE recipe = ?", recipe)
        return {str(label): str(key) for label, key in rows}

    def note_latest(self, recipe: str, keys: Mapping[str, str]) -> None:
        """Remember the key of each step of a recipe, by label."""
        self.note(
            "INSERT OR REPLACE INTO latest (recipe, label, key) VALUES (?, ?, ?)",
            [(recipe, label, key) for label, key in keys.items()],
        )

    def recipes(self) -> list[str]:
        """List the names of the recipes that were built here."""
        rows = self.ask("SELECT DISTINCT recipe FROM latest ORDER BY recipe")
        return [name for (name,) in rows]

    def logs(self, recipe: str) -> dict[str, LogEntry]:
        """Give, by label, what each step of a recipe printed when it last ran: (status, digest, when)."""
        rows = self.ask("SELECT label, status, log, made FROM logs WHERE recipe = ?", recipe)
        return {label: (status, log, made) for label, status, log, made in rows}

    def note_logs(self, recipe: str, entries: Mapping[str, LogEntry]) -> None:
        """Remember what steps of a recipe printed, by label; those that failed too."""
        self.note(
            "INSERT OR REPLACE INTO logs (recipe, label, status, log, made) VALUES (?, ?, ?, ?, ?)",
            [(recipe, label, *entry) for label, entry in entries.items()],
        )

    def published(self, identity: str) -> dict[str, tuple[str, int]] | None:
        """Give the files that publishing a model once made: name -> (digest, bytes)."""
        rows = self.ask("SELECT files FROM published WHERE identity = ?", identity)
        said = unseal(rows[0][0]) if rows else None
        return said and {name: (digest, size) for name, (digest, size) in said.items()}

    def note_published(self, identity: str, made: Mapping[str, tuple[str, int]]) -> None:
        """Remember which files publishing a model makes; `identity` begins with the model's digest."""
        self.note(
            "INSERT OR REPLACE INTO published (identity, files) VALUES (?, ?)",
            [(identity, seal(plain(made)))],
        )

    def variants(self) -> dict[str, PublishedVariant]:
        """Give the published folders, relative to the store, and what they hold and rest on."""
        rows = self.ask("SELECT folder, files FROM variants ORDER BY folder")
        read = ((folder, read_variant(said)) for folder, said in rows)
        return {folder: variant for folder, variant in read if variant is not None}

    def damaged_rows(self) -> list[tuple[str, str]]:
        """Give table and name of rows that are not what was written, traces aside."""
        found = []
        for table, name, content in (
            ("variants", "folder", "files"),
            ("published", "identity", "files"),
        ):
            rows = self.ask(f"SELECT {name}, {content} FROM {table}")  # noqa: S608 - our own names
            found += [(table, str(key)) for key, said in rows if unseal(said) is None]
        return found

    def drop_row(self, table: str, name: str) -> None:
        """Remove a row that `damaged_rows` gave."""
        column = {"variants": "folder", "published": "identity"}[table]
        self.note(f"DELETE FROM {table} WHERE {column} = ?", [(name,)])  # noqa: S608 - our own names

    def variant(self, folder: str) -> PublishedVariant | None:
        """Give what a published folder, relative to the store, holds and rests on."""
        rows = self.ask("SELECT files FROM variants WHERE folder = ?", folder)
        return read_variant(rows[0][0]) if rows else None

    def note_variant(self, folder: str, variant: PublishedVariant) -> None:
        """Remember that a folder, relative to the store, was published."""
        self.note(
            "INSERT OR REPLACE INTO variants (folder, files) VALUES (?, ?)",
            [(folder, seal(plain(variant)))],
        )

    def known_files(self) -> dict[str, tuple[Signature, str]]:
        """Give all remembered digests: absolute path -> (signature, digest)."""
        rows = self.ask("SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM files")
        return {row[0]: ((row[1], row[2], row[3], row[4]), row[5]) for row in rows}

    def remember_files(self, known: Mapping[str, tuple[Signature, str]]) -> None:
        """Remember digests of files whose signature has settled."""
        if known:
            self.note(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
                # A name that is no text cannot be kept: such a file is digested anew each time.
                [(path, *seen, digest) for path, (seen, digest) in known.items() if is_text(path)],
            )

    def all_traces(self) -> list[Trace]:
        """Give every trace, oldest first."""
        rows = self.ask("SELECT key, body FROM traces ORDER BY number")
        return [trace for row in rows if (trace := read_whole(*row)) is not None]


def _read_cost(rows: list[tuple[Any, ...]]) -> Cost | None:
    for seconds, memory, stored in rows:
        return Cost(seconds=seconds, memory=int(memory), stored=int(stored))
    return None


def is_text(path: str) -> bool:
    """Tell whether a path is text: file systems allow any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
