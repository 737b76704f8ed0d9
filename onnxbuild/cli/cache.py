"""Look after the store: measure it, collect it, check it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from onnxbuild.cli import console
from onnxbuild.cli.arguments import add_json, split
from onnxbuild.core.quantities import read_age, read_size, show_size
from onnxbuild.errors import UsageError
from onnxbuild.project import find_root, store_folder
from onnxbuild.stores.check import Checked, check
from onnxbuild.stores.collect import Bounds, Collected, collect
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.measure import measure
from onnxbuild.workplace import open_workplace

OPTIONS = {"size": (), "gc": ("max_size", "older_than", "dry_run"), "verify": ("repair",)}
"""What there is to do, and the options that each takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``cache``."""
    parser.add_argument(
        "what",
        choices=sorted(OPTIONS),
        metavar="size | gc | verify",
        help="size: what the store holds, in bytes; gc: remove what dead builds have left, and what is over the"
        " bounds; verify: read all of it, and what is published, against its digests",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RECIPE.yaml | key=value",
        help="the store of these recipes, and for size only what they hold; without one, the store of the"
        " folder you are in, and all of its recipes",
    )
    parser.add_argument(
        "--max-size",
        type=_amount(read_size),
        metavar="SIZE",
        help="gc: remove results until the store is no larger, as in 20GB; first those that were not used for"
        " long and are quickly rebuilt for their size",
    )
    parser.add_argument(
        "--older-than",
        type=_amount(read_age),
        metavar="AGE",
        help="gc: remove results that served no build for longer, as in 30d",
    )
    parser.add_argument(
        "--dry-run", action="store_true", default=None, help="gc: only say what would go"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        default=None,
        help="verify: drop what is damaged, so that the next run builds it again",
    )
    add_json(parser)


def _amount(read: Any) -> Any:
    def parse(text: str) -> float:
        try:
            amount: float = read(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(f"{error.what}: {error.hint}") from error
        return amount

    return parse


def main(options: argparse.Namespace) -> int:
    """Do what was asked of the store and print what came of it."""
    _refuse_others(options)
    code = 0
    with _open(options) as (store, recipes, artifacts):
        match options.what:
            case "gc":
                bounds = Bounds(max_size=options.max_size, older_than=options.older_than)
                collected = collect(
                    store, bounds, dry_run=bool(options.dry_run), artifacts=artifacts
                )
                values, text = _gc_json(collected), _tell_collected(collected, options)
            case "verify":
                checked = check(store, repair=bool(options.repair))
                values, text = _check_json(checked), _tell_checked(checked)
                code = 1 if checked.damages and not checked.repaired else 0
            case _:
                values = measure(store, recipes)
                text = render(values)
    console.data(json.dumps(values, indent=2) if options.json else text)
    return code


def _refuse_others(options: argparse.Namespace) -> None:
    """Refuse an option of one thing to do for another."""
    for what, names in OPTIONS.items():
        for name in names:
            if what != options.what and getattr(options, name) is not None:
                word = "--" + name.replace("_", "-")
                raise UsageError(
                    f"`onnxbuild cache {options.what}` has no option {word}",
                    hint=f"it belongs to `onnxbuild cache {what}`",
                )


@contextmanager
def _open(options: argparse.Namespace) -> Iterator[tuple[LocalStore, list[str] | None, str]]:
    """Open the store that was meant; with the names of the recipes, where there are some, and of ``artifacts/``."""
    if options.words:
        recipes, overrides = split(options.words)
        with open_workplace(recipes, overrides) as workplace:
            artifacts = os.path.join(workplace.site.root, workplace.settings.artifacts)
            yield workplace.store, list(workplace.recipes), artifacts
        return
    root = find_root(os.getcwd())
    folder = store_folder(root)
    if not os.path.isdir(folder):
        raise UsageError(
            f"there is no store in {folder}",
            hint="it comes with the first run; name a recipe, or set $ONNXBUILD_STORE, for another",
        )
    store = LocalStore(folder)
    try:
        yield store, None, os.path.join(root, "artifacts")
    finally:
        store.close()


def _gc_json(collected: Collected) -> dict[str, Any]:
    return {
        "results": collected.results,
        "files": sum(collected.files.values()),
        "freed": collected.freed,
        "kept": collected.kept,
        "in_use": collected.in_use,
        "published": collected.published,
    }


def _tell_collected(collected: Collected, options: argparse.Namespace) -> str:
    removed, are = ("would remove", "would be") if options.dry_run else ("removed", "are")
    what = (
        f"{_count(collected.results, 'result')} and {_count(sum(collected.files.values()), 'file')}"
    )
    freed, kept = show_size(collected.freed), show_size(collected.kept)
    lines = [f"{removed} {what}: {freed}; {kept} {are} kept"]
    spared = collected.published + collected.in_use
    if spared:
        lines.append(
            f"spared: {_count(collected.published, 'result')} behind published models,"
            f" {collected.in_use} of running builds"
        )
    if options.max_size is not None and collected.kept > options.max_size:
        lines.append(
            f"still over {show_size(options.max_size)}: delete folders of published models that nobody needs,"
            " and collect again"
            if spared
            else f"still over {show_size(options.max_size)}: what is left are tables and logs"
        )
    return "\n".join(lines)


def _check_json(checked: Checked) -> dict[str, Any]:
    return {
        "files": checked.files,
        "bytes": checked.bytes,
        "results": checked.results,
        "variants": checked.variants,
        "damages": [
            {"state": item.state, "what": item.what, "where": item.path} for item in checked.damages
        ],
        "repaired": checked.repaired,
    }


def _tell_checked(checked: Checked) -> str:
    read = (
        f"read {_count(checked.files, 'file')} ({show_size(checked.bytes)}),"
        f" {_count(checked.results, 'result')}, {_count(checked.variants, 'published variant')}"
    )
    if not checked.damages:
        return f"{read}: all whole"
    lines = [f"{item.state}: {item.what}\n  where: {item.path}" for item in checked.damages]
    lines.append(f"{read}: {_count(len(checked.damages), 'thing')} not whole")
    lines.append(
        "dropped; the next run builds again what it needs of it"
        if checked.repaired
        else "`onnxbuild cache verify --repair` drops it, so that the next run builds it again"
    )
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def render(measured: Mapping[str, Any]) -> str:
    """Write the tables of kinds and of recipes."""
    rows = [
        [kind, str(item["files"]), show_size(item["bytes"])]
        for kind, item in measured["kinds"].items()
        if item["files"]
    ]
    files = sum(item["files"] for item in measured["kinds"].values())
    rows.append(["all", str(files), show_size(measured["bytes"])])
    parts = [measured["store"], console.table(["content", "files", "size"], rows, right=(1, 2))]
    recipes = [
        [name, *(show_size(item[part]) for part in ("bytes", "unique", "shared"))]
        for name, item in measured["recipes"].items()
    ]
    if recipes:
        header = ["recipe's last build", "size", "its own", "shared with others"]
        parts.append(console.table(header, recipes, right=(1, 2, 3)))
    if measured["of_no_last_build"]:
        parts.append(f"{show_size(measured['of_no_last_build'])} are of earlier builds.")
    return "\n\n".join(parts)
