"""Show what a step printed when it last ran, or failed.

STEP is the name of a step, or a part of it that no other step has. Without one: the steps that have a log.
Without a recipe: of all that was built in the project around the current folder.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping

from onnxbuild.cli import console
from onnxbuild.cli.arguments import add_multirun, split
from onnxbuild.cli.steps import take_step
from onnxbuild.errors import StoreError, UsageError
from onnxbuild.planner import find_label
from onnxbuild.project import find_root, store_folder
from onnxbuild.stores.actions import LogEntry
from onnxbuild.stores.local import LocalStore
from onnxbuild.workplace import open_store, open_workplace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``log``."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="STEP | RECIPE.yaml | key=value",
        help="a step, its recipe, and overrides of the recipe's keys",
    )
    add_multirun(parser)
    parser.add_argument(
        "--step", metavar="STEP", help="the step, where its name looks like a recipe"
    )


def main(options: argparse.Namespace) -> int:
    """Print the log of one step, or list the steps that have one."""
    words, step = take_step(options.words)
    step = options.step or step
    if not words:
        _main_of_project(step)
        return 0
    recipes, overrides = split(words)
    with open_workplace(recipes, overrides, multirun=options.multirun, look=True) as workplace:
        logs = {name: workplace.store.actions.logs(name) for name in workplace.recipes}
        _answer(workplace.store, logs, step, [item.label for item in workplace.plan.steps])
    return 0


def _main_of_project(step: str | None) -> None:
    with open_store(store_folder(find_root(os.getcwd())), look=True) as store:
        logs = {name: store.actions.logs(name) for name in store.actions.recipes()}
        if step is not None and not logs:
            raise UsageError(
                "no recipe was built in this project's store",
                where=store.root,
                hint=f"name the recipe: onnxbuild log {step!r} recipe.yaml",
            )
        _answer(store, logs, step, [])


def _answer(
    store: LocalStore,
    logs: Mapping[str, Mapping[str, LogEntry]],
    step: str | None,
    planned: list[str],
) -> None:
    if step is None:
        console.data(list_logs(logs))
        return
    label = find_label(step, [*planned, *(label for entries in logs.values() for label in entries)])
    found = [entries[label] for entries in logs.values() if label in entries]
    if not found:
        console.talk(f"{label} has not run in this store yet")
        return
    _show(store, label, max(found, key=lambda entry: entry[2]))


def list_logs(logs: Mapping[str, Mapping[str, LogEntry]]) -> str:
    """Write the table of steps that ran, with when and how they ended."""
    rows = [
        [name, label, status, _when(made), "yes" if log else "nothing"]
        for name, entries in logs.items()
        for label, (status, log, made) in sorted(entries.items(), key=lambda item: item[1][2])
    ]
    if not rows:
        return "no step of this recipe has run in this store yet"
    return console.table(["recipe", "step", "state", "when", "printed"], rows)


def _show(store: LocalStore, label: str, entry: LogEntry) -> None:
    status, log, made = entry
    console.talk(f"{label}: {status} {_when(made)}")
    if not log:
        console.talk("it printed nothing")
        return
    path = store.blob_path(log)
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            text = file.read()
    except FileNotFoundError:
        raise StoreError(
            f"what {label!r} printed is no longer in the store",
            where=path,
            hint=f"run it again: onnxbuild run … --rerun {label!r}",
        ) from None
    console.data(text.rstrip("\n"))


def _when(made: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made))
