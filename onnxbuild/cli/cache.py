"""Look after the store: how much it holds, of what, and for which recipes."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onnxbuild.cli import console
from onnxbuild.cli.arguments import add_json, split
from onnxbuild.core.trace import Trace
from onnxbuild.errors import UsageError
from onnxbuild.project import find_root, store_folder
from onnxbuild.stores.local import LocalStore
from onnxbuild.workplace import open_workplace

KINDS = ("weights and data", "graphs", "traces", "answers", "temporary", "quarantine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``cache``."""
    parser.add_argument(
        "what", choices=["size"], metavar="size", help="size: what the store holds, in bytes"
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RECIPE.yaml | key=value",
        help="only these recipes; without one, the store of the folder you are in, and all of its recipes",
    )
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Measure the store and print that."""
    if options.words:
        recipes, overrides = split(options.words)
        with open_workplace(recipes, overrides) as workplace:
            measured = measure(workplace.store, list(workplace.recipes))
    else:
        measured = _measure_here()
    console.data(json.dumps(measured, indent=2) if options.json else render(measured))
    return 0


def _measure_here() -> dict[str, Any]:
    folder = store_folder(find_root(os.getcwd()))
    if not os.path.isdir(folder):
        raise UsageError(
            f"there is no store in {folder}",
            hint="it comes with the first run; name a recipe, or set $ONNXBUILD_STORE, for another",
        )
    store = LocalStore(folder)
    try:
        return measure(store)
    finally:
        store.close()


@dataclass(slots=True)
class _Sum:
    files: int = 0
    bytes: int = 0


def measure(store: LocalStore, only: Iterable[str] | None = None) -> dict[str, Any]:
    """Give the files and bytes of a store by kind, and by recipe what it shares and has alone.

    The bytes of a recipe are those of its last build: results, weights and logs of its steps.
    """
    sums = {kind: _Sum() for kind in KINDS}
    sizes: dict[str, int] = {}
    for folder, _, names in os.walk(store.root):
        kind = _kind(os.path.relpath(folder, store.root))
        for name in names:
            path = os.path.join(folder, name)
            try:
                count = os.lstat(path).st_size
            except FileNotFoundError:
                # A build at work removes its temporary files meanwhile.
                continue
            mine = kind or ("graphs" if name.endswith(".onnx") else "traces")
            if name.startswith("tmp-"):
                mine = "temporary"
            sums[mine].files += 1
            sums[mine].bytes += count
            if mine in {"weights and data", "graphs"}:
                sizes[name.removesuffix(".onnx")] = count
    held = {name: _held(store, name) & sizes.keys() for name in store.actions.recipes()}
    return {
        "store": store.root,
        "bytes": sum(item.bytes for item in sums.values()),
        "kinds": {kind: {"files": item.files, "bytes": item.bytes} for kind, item in sums.items()},
        "recipes": _by_recipe(held, sizes, held if only is None else only),
        "of_no_last_build": sum(sizes[name] for name in sizes.keys() - set().union(*held.values())),
    }


def _kind(folder: str) -> str:
    top = folder.split(os.sep, maxsplit=1)[0]
    return {
        "blobs": "weights and data",
        "answers": "answers",
        "quarantine": "quarantine",
        "tmp": "temporary",
        "claims": "temporary",
    }.get(top, "")


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
    digests: set[str] = set()
    for key in store.actions.latest(recipe).values():
        for trace in store.traces(key):
            digests.update(_digests(trace))
    digests.update(log for _, log, _ in store.actions.logs(recipe).values())
    return {digest.removeprefix("b3:") for digest in digests}


def _digests(trace: Trace) -> Iterable[str]:
    yield trace.log
    for artifact in trace.results.values():
        yield artifact.digest
        yield from artifact.parts


def render(measured: Mapping[str, Any]) -> str:
    """Write the tables of kinds and of recipes."""
    rows = [
        [kind, str(item["files"]), console.size(item["bytes"])]
        for kind, item in measured["kinds"].items()
        if item["files"]
    ]
    files = sum(item["files"] for item in measured["kinds"].values())
    rows.append(["all", str(files), console.size(measured["bytes"])])
    parts = [measured["store"], console.table(["content", "files", "size"], rows, right=(1, 2))]
    recipes = [
        [name, *(console.size(item[part]) for part in ("bytes", "unique", "shared"))]
        for name, item in measured["recipes"].items()
    ]
    if recipes:
        header = ["recipe's last build", "size", "its own", "shared with others"]
        parts.append(console.table(header, recipes, right=(1, 2, 3)))
    if measured["of_no_last_build"]:
        parts.append(f"{console.size(measured['of_no_last_build'])} are of earlier builds.")
    return "\n\n".join(parts)
