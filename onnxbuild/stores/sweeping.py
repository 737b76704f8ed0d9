"""What dead builds leave in a store, and what is remembered of things that are gone."""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Iterator

from onnxbuild.core.digest import PREFIX
from onnxbuild.stores.claims import LOCK
from onnxbuild.stores.inventory import Item, is_ours
from onnxbuild.stores.leases import NO_LEASES
from onnxbuild.stores.local import LocalStore

UNASKED = 30 * 86400.0
"""Seconds after which an answer that nobody asked for is forgotten."""

FUTURE = 3600 * 10**9
"""Nanoseconds by which clocks of processes on one machine never differ."""

COSTS = 10_000
"""Runs of steps whose costs are remembered, be their results kept or not."""

KEPT = NO_LEASES | {LOCK}
"""Files of ``claims/`` and ``leases/`` that are no build's."""


def is_before(changed_ns: int, oldest_ns: int) -> bool:
    """Tell whether nobody can be at work on what was last changed then.

    A time in the future was left by a clock that has been set back since.
    """
    return changed_ns < oldest_ns or changed_ns > time.time_ns() + FUTURE


def list_leftovers(items: Iterable[Item], oldest_ns: int, now: float) -> Iterator[Item]:
    """Give the files that no live build can be writing or reading: last touched before `oldest_ns`.

    Temporary files and claims of dead builds, quarantine, answers that were not asked for in a month.
    """
    for item in items:
        if not is_before(item.changed_ns, oldest_ns):
            continue
        if item.kind == "quarantine":
            yield item
        elif item.kind == "temporary":
            if os.path.basename(item.path) not in KEPT:
                yield item
        elif item.kind == "answers":
            is_torn = "." in os.path.basename(item.path)
            if is_torn or item.changed_ns / 1e9 < now - UNASKED:
                yield item


def list_folders(store: LocalStore, oldest_ns: int) -> Iterator[str]:
    """Give the private folders that dead builds have left."""
    temporary = os.path.join(store.root, "tmp")
    for entry in os.scandir(temporary):
        is_folder = entry.is_dir(follow_symlinks=False) and is_ours("tmp", entry.name)
        if is_folder and is_before(entry.stat().st_mtime_ns, oldest_ns):
            yield entry.path


def forget_what_is_gone(store: LocalStore, names: Container[str]) -> None:
    """Forget what is remembered of files, folders and models that are no more; `names` are the content that is."""
    actions = store.actions
    gone = [(path,) for path in actions.known_files() if not os.path.lexists(path)]
    actions.note("DELETE FROM files WHERE path = ?", gone)
    folders = [
        (folder,) for folder in actions.variants() if not os.path.isdir(store.folder_of(folder))
    ]
    actions.note("DELETE FROM variants WHERE folder = ?", folders)
    made = [
        (identity,)
        for (identity,) in actions.ask("SELECT identity FROM published")
        if identity.partition(" ")[0].removeprefix(PREFIX) not in names
    ]
    actions.note("DELETE FROM published WHERE identity = ?", made)
    actions.note(
        "DELETE FROM costs WHERE made < (SELECT made FROM costs ORDER BY made DESC LIMIT 1 OFFSET ?)",
        [(COSTS,)],
    )
