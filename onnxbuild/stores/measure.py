"""How much a store holds, of what, and for which recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from onnxbuild.core.digest import PREFIX
from onnxbuild.stores.holdings import name_content
from onnxbuild.stores.inventory import CONTENT, KINDS, list_items
from onnxbuild.stores.local import LocalStore


def measure(store: LocalStore, only: Iterable[str] | None = None) -> dict[str, Any]:
    """Give the files and bytes of a store by kind, and by recipe what it shares and has alone.

    The bytes of a recipe are those of its last build: results, weights and logs of its steps.
    """
    kinds = {kind: {"files": 0, "bytes": 0} for kind in KINDS}
    sizes: dict[str, int] = {}
    for item in list_items(store.root):
        kinds[item.kind]["files"] += 1
        kinds[item.kind]["bytes"] += item.size
        if item.kind in CONTENT:
            sizes[item.name] = item.size
    held = {name: _held(store, name) & sizes.keys() for name in store.actions.recipes()}
    return {
        "store": store.root,
        "bytes": sum(kind["bytes"] for kind in kinds.values()),
        "kinds": kinds,
        "recipes": _by_recipe(held, sizes, held if only is None else only),
        "of_no_last_build": sum(sizes[name] for name in sizes.keys() - set().union(*held.values())),
    }


def _by_recipe(
    held: Mapping[str, set[str]], sizes: Mapping[str, int], wanted: Iterable[str]
) -> dict[str, dict[str, int]]:
    uses: dict[str, int] = {}
    for names in held.values():
        for name in names:
            uses[name] = uses.get(name, 0) + 1
    found = {}
    for recipe in wanted:
        names = held.get(recipe, set())
        alone = sum(sizes[name] for name in names if uses[name] == 1)
        total = sum(sizes[name] for name in names)
        found[recipe] = {"bytes": total, "unique": alone, "shared": total - alone}
    return found


def _held(store: LocalStore, recipe: str) -> set[str]:
    """Give the names of all content that the last build of a recipe refers to."""
    names: set[str] = set()
    for key in store.actions.latest(recipe).values():
        for trace in store.traces(key):
            names.update(name_content(trace))
    logs = (log for _, log, _ in store.actions.logs(recipe).values() if log)
    return names | {log.removeprefix(PREFIX) for log in logs}
