"""Collecting what a store need not keep: leftovers always, results by age and size.

What is spared, whatever is asked: what a running build has looked up or put since it began, and what stands
behind a published folder that is still there. Content goes with the last trace that refers to it. Rows go
before their content, so that a collection that is broken off leaves content to which nothing refers, and
the next one finds it.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from onnxbuild.core import files
from onnxbuild.engine.publish import sweep
from onnxbuild.stores.holdings import (
    Holding,
    Holdings,
    find_published,
    name_logs,
    no_later,
    read_holdings,
)
from onnxbuild.stores.inventory import CONTENT, Item, Kind, list_items
from onnxbuild.stores.leases import alone, find_held
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.sweeping import (
    forget_what_is_gone,
    is_before,
    list_folders,
    list_leftovers,
)

BATCH = 200
"""Traces that are removed at a time, while builds wait: some milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a store may keep."""

    max_size: int | None = None
    """Bytes of the whole store. What is least worth its bytes goes first."""

    older_than: float | None = None
    """Seconds. Results that served no build for longer go."""


@dataclass(slots=True, kw_only=True)
class Collected:
    """What was removed, or would be."""

    results: int = 0
    """Results of steps, with what they alone refer to."""
    files: Counter[Kind] = field(default_factory=Counter)
    """Files by kind."""
    freed: int = 0
    """Bytes."""
    kept: int = 0
    """Bytes that the store holds afterwards."""
    in_use: int = 0
    """Results that running builds use."""
    published: int = 0
    """Results that stand behind published models."""


def collect(
    store: LocalStore, bounds: Bounds, *, dry_run: bool = False, artifacts: str = ""
) -> Collected:
    """Remove what is over the bounds, and what dead builds have left. Safe beside running builds.

    `artifacts` is a folder of published models, to look at beside those that the store knows of. Raises
    `StoreError`, of a store that cannot be written above all.
    """
    if not store.is_writable:
        raise files.explain(OSError(errno.EROFS, os.strerror(errno.EROFS)), store.root)
    return _Collection(store, bounds, dry_run=dry_run, artifacts=artifacts).run()


def choose(
    holdings: Holdings,
    candidates: Iterable[Holding],
    sizes: Mapping[str, int],
    over: float,
    cutoff: float,
) -> list[Holding]:
    """Give the holdings that must go, in order: those not used since `cutoff`, and until `over` bytes are freed.

    Counts them out of `holdings`.
    """
    worth = {item.number: item.worth(holdings.share(item, sizes)) for item in candidates}
    ordered = sorted(worth, key=lambda number: (worth[number], number))
    chosen = []
    for number in ordered:
        item = holdings.traces[number]
        if item.used < cutoff or over > 0:
            over -= item.row + sum(sizes.get(name, 0) for name in holdings.drop(number))
            chosen.append(item)
    return chosen


class _Collection:
    def __init__(self, store: LocalStore, bounds: Bounds, *, dry_run: bool, artifacts: str) -> None:
        self._store = store
        self._artifacts = artifacts
        self._bounds = bounds
        self._dry_run = dry_run
        self._done = Collected()
        self._gone: set[str] = set()
        self._began = _clock(store)
        self._cutoff = 0.0 if bounds.older_than is None else time.time() - bounds.older_than

    def run(self) -> Collected:
        with alone(self._store.root):
            oldest = self._oldest(find_held(self._store.root).since)
        items = list(list_items(self._store.root))
        self._content = {item.name: item for item in items if item.kind in CONTENT}
        self._done.kept = sum(item.size for item in items)
        # Before their files go, which would make them look as if they were in use.
        folders = list(list_folders(self._store, oldest))
        # And before the tables are opened, which a full disk does not let.
        for leftover in list_leftovers(items, oldest, time.time()):
            self._remove(leftover)
        self._holdings = read_holdings(self._store)
        self._logs = set(name_logs(self._store, self._cutoff))
        self._remove_unreferenced(oldest)
        self._remove_results()
        self._remove_answers(items, oldest)
        if not self._dry_run:
            self._tidy(folders, oldest)
        return self._done

    def _oldest(self, since: int | None) -> int:
        """Give the time from which on nothing is touched: the oldest build's beginning, or our own."""
        return self._began if since is None else min(self._began, since)

    def _candidates(self) -> list[Holding]:
        """Give the results that may go, and count those that may not."""
        with alone(self._store.root):
            held = find_held(self._store.root)
        published = find_published(self._store, self._holdings, self._artifacts)
        found = []
        for item in self._holdings.traces.values():
            if item.key in held.keys or item.used * 1e9 >= self._oldest(held.since):
                self._done.in_use += 1
            elif (item.key, item.fingerprint) in published:
                self._done.published += 1
            else:
                found.append(item)
        return found

    def _remove_results(self) -> None:
        limit = self._bounds.max_size
        over = 0 if limit is None else self._done.kept - limit
        sizes = {name: item.size for name, item in self._content.items()}
        known = Holdings(
            traces=dict(self._holdings.traces), references=self._holdings.references.copy()
        )
        chosen = choose(known, self._candidates(), sizes, over, self._cutoff)
        for start in range(0, len(chosen), BATCH):
            self._remove_batch(chosen[start : start + BATCH])

    def _remove_answers(self, items: Iterable[Item], oldest: int) -> None:
        """Where results were not enough, remove what is found anew in a second: answers, the oldest first."""
        answers = [
            item for item in items if item.kind == "answers" and is_before(item.changed_ns, oldest)
        ]
        limit = self._bounds.max_size
        for item in sorted(answers, key=lambda item: item.changed_ns):
            if limit is not None and self._done.kept > limit and item.path not in self._gone:
                self._remove(item)

    def _remove_batch(self, batch: Sequence[Holding]) -> None:
        """Remove results and what only they refer to, unless a build has come to use them meanwhile."""
        with alone(self._store.root):
            held = find_held(self._store.root)
            # What builds have recorded since we read may refer to what was there before.
            for item in read_holdings(self._store, self._holdings.last).traces.values():
                self._holdings.add(item)
            oldest = self._oldest(held.since)
            free = [
                item for item in batch if item.key not in held.keys and not self._was_used(item)
            ]
            if not self._dry_run:
                with self._store.actions.transaction() as connection:
                    numbers = [(item.number,) for item in free]
                    connection.executemany("DELETE FROM traces WHERE number = ?", numbers)
            for item in free:
                self._done.results += 1
                self._count(item.row)
                for name in self._holdings.drop(item.number):
                    self._remove_content(name, oldest)

    def _was_used(self, item: Holding) -> bool:
        """Tell whether a build that has ended used a trace after we had read it."""
        rows = self._store.actions.ask("SELECT used FROM traces WHERE number = ?", item.number)
        return any(no_later(used) * 1e9 >= self._began for (used,) in rows)

    def _remove_unreferenced(self, oldest: int) -> None:
        names = [name for name in self._content if not self._holdings.references[name]]
        for start in range(0, len(names), BATCH):
            with alone(self._store.root):
                for name in names[start : start + BATCH]:
                    self._remove_content(name, oldest)

    def _remove_content(self, name: str, oldest: int) -> None:
        """Remove content, unless it is a log that is kept or somebody has put it again."""
        item = self._content.get(name)
        if item is None or name in self._logs:
            return
        try:
            changed = os.stat(item.path).st_mtime_ns
        except FileNotFoundError:
            return
        if is_before(changed, oldest):
            del self._content[name]
            self._remove(item)

    def _remove(self, item: Item) -> None:
        self._gone.add(item.path)
        self._done.files[item.kind] += 1
        self._count(item.size)
        if not self._dry_run:
            files.remove(item.path)

    def _count(self, size: int) -> None:
        self._done.freed += size
        self._done.kept -= size

    def _tidy(self, folders: Iterable[str], oldest: int) -> None:
        """Remove folders that killed builds have left, and what is remembered of things that are gone."""
        for folder in folders:
            files.remove_tree(folder)
        variants = map(self._store.folder_of, self._store.actions.variants())
        for parent in set(map(os.path.dirname, variants)):
            if os.path.isdir(parent):
                sweep(parent, ".", oldest / 1e9)
        if self._cutoff:
            self._store.actions.note("DELETE FROM logs WHERE made < ?", [(self._cutoff,)])
        forget_what_is_gone(self._store, self._holdings.references)
        if oldest == self._began:
            # No build is at work that would have to wait.
            self._store.actions.compact()


def _clock(store: LocalStore) -> int:
    """Give the time now by the clock of the store's disk, in nanoseconds."""
    with tempfile.TemporaryFile(dir=os.path.join(store.root, "tmp")) as file:
        return os.fstat(file.fileno()).st_mtime_ns
