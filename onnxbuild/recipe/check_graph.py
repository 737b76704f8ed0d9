"""Mistakes in the graph of stages: names, what they start from, cycles, what is published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from onnxbuild.recipe.building import EXPORT
from onnxbuild.recipe.mistakes import KeyPath, Mistake, did_you_mean
from onnxbuild.recipe.sources import Sources

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
TAKEN = {EXPORT: "the exported model itself", "default": "what `verify.default` is about"}


def graph_mistakes(data: Mapping[str, Any], sources: Sources) -> Iterator[Mistake]:
    """Check names, parents and cycles of stages, and what is published."""
    given = data.get("stages")
    stages: Mapping[str, Any] = given if isinstance(given, Mapping) else {}

    def mistake(path: KeyPath, what: str, hint: str = "", part: Any = "value") -> Mistake:
        return Mistake(what, place=sources.place(path, part), hint=hint, path=path)

    parents: dict[str, str] = {}
    for name, stage in stages.items():
        path = ("stages", name)
        if name in TAKEN:
            yield mistake(path, f"{name!r} cannot name a stage: it is {TAKEN[name]}", part="key")
        elif not NAME.fullmatch(name):
            yield mistake(
                path,
                f"{name!r} cannot name a stage, whose name is a folder's too",
                "letters, digits, dots, dashes and underscores; it begins with a letter or a digit",
                "key",
            )
        parent = stage.get("from") if isinstance(stage, Mapping) else None
        if not isinstance(parent, str):
            continue
        if parent == EXPORT:
            continue
        parents[name] = parent
        if parent not in stages:
            hint = did_you_mean(parent, [*stages, EXPORT])
            yield mistake((*path, "from"), f"there is no stage {parent!r} to start from", hint)
    for cycle in _cycles(parents):
        written = " -> ".join([*cycle, cycle[0]])
        yield mistake(
            ("stages", cycle[0], "from"),
            f"these stages start from one another: {written}",
            f"one of them must start from {EXPORT!r} or from another stage",
        )
    yield from _publish_mistakes(data, stages, mistake)


def _publish_mistakes(
    data: Mapping[str, Any], stages: Mapping[str, Any], mistake: Any
) -> Iterator[Mistake]:
    published = data.get("publish")
    if not isinstance(published, list):
        return
    if not published and not _is_cycle_only(stages):
        yield mistake(
            ("publish",),
            "nothing is published",
            f"name stages, or {EXPORT!r}; without `publish:` it is what no stage starts from",
            "key",
        )
    for index, name in enumerate(published):
        path = ("publish", str(index))
        if not isinstance(name, str):
            continue
        if name != EXPORT and name not in stages:
            yield mistake(
                path,
                f"there is no stage {name!r} to publish",
                did_you_mean(name, [*stages, EXPORT]),
            )
        elif name in published[:index]:
            yield mistake(path, f"{name!r} is published twice")


def _is_cycle_only(stages: Mapping[str, Any]) -> bool:
    """Tell whether nothing is published only because all stages run in circles, which is said already."""
    return any(
        True
        for _ in _cycles(
            {n: str(s.get("from")) for n, s in stages.items() if isinstance(s, Mapping)}
        )
    )


def _cycles(parents: Mapping[str, str]) -> Iterator[list[str]]:
    """Give each cycle of a graph in which every node has one parent."""
    done: set[str] = set()
    for start in parents:
        trail: dict[str, int] = {}
        name = start
        while name in parents and name not in done and name not in trail:
            trail[name] = len(trail)
            name = parents[name]
        if name in trail:
            yield list(trail)[trail[name] :]
        done.update(trail)
