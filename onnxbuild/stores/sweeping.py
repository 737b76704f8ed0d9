"""What dead builds leave in a store, and what is remembered of things that are gone."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator

from onnxbuild.core.digest import PREFIX
from onnxbuild.stores.claims import LOCK
from onnxbuild.stores.inventory import Item
from onnxbuild.stores.leases import NO_LEASES
from onnxbuild.stores.local import LocalStore

UNASKED = 30 * 86400.0
"""Seconds after which an answer that nobody asked for is forgotten."""

KEPT = NO_LEASES | {LOCK}
"""Files of ``claims/`` and ``leases/`` that are no build's."""


def list_leftovers(items: Iterable[Item], oldest_ns: int, now: float) -> Iterator[Item]:
    """Give the files that no live build can be writing or reading: last touched before `oldest_ns`.

    Temporary files and claims of dead builds, quarantine, answers that were not asked for in a month.
    """
    for item in items:
        if item.changed_ns >= oldest_ns:
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
        if entry.is_dir(follow_symlinks=False) and entry.stat().st_mtime_ns < oldest_ns:
            yield entry.path


def forget_what_is_gone(store: LocalStore, names: Container[str]) -> None:
    """Forget what is remembered of files, folders and models that are no more; `names` are the content that is."""
    actions = store.actions
    gone = [(path,) for path in actions.known_files() if not os.path.lexists(path)]
    actions.note("DELETE FROM files WHERE path = ?", gone)
    folders = [
        (folder,)
        for folder in actions.variants()
        if not os.path.isdir(os.path.join(store.root, folder))
    ]
    actions.note("DELETE FROM variants WHERE folder = ?", folders)
    made = [
        (identity,)
        for (identity,) in actions.ask("SELECT identity FROM published")
        if identity.partition(" ")[0].removeprefix(PREFIX) not in names
    ]
    actions.note("DELETE FROM published WHERE identity = ?", made)
