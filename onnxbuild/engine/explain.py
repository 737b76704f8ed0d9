"""Why a step runs: the exact option, file, package or input that changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onnxbuild.core.facts import now
from onnxbuild.core.trace import Trace

NEVER = "nothing like it was ever built"
GONE = "its earlier result is no longer in the store"
SHOWN = 3
"""Causes named in one line; the rest are counted."""


def explain_missing(
    ingredients: Mapping[str, Any],
    traces: Sequence[Trace],
    previous: Trace | None,
    root: str,
    roots: Mapping[str, str],
    known: dict[str, Any],
    ignored: tuple[str, ...],
) -> list[str]:
    """Name the causes for which no trace serves a step, most telling first.

    `traces` are those of its key, none of which holds; `previous` is the one with which the step of
    that name was last built.
    """
    if traces:
        # The nearest to what is there now, of equals the newest: after going back and forth, the last one
        # recorded need not be the last one used.
        changes = [
            [
                _changed(fact, current)
                for fact in trace.observations
                if (current := now(fact[0], fact[1], root, dict(roots), known, ignored))
                != (fact[0], fact[2])
            ]
            for trace in reversed(traces)
        ]
        return min(changes, key=len)
    if previous is None:
        return [NEVER]
    return list(_differences(previous.ingredients, ingredients)) or [GONE]


def in_one_line(causes: Sequence[str]) -> str:
    """Join the first causes and count the others."""
    shown = "; ".join(causes[:SHOWN])
    return shown if len(causes) <= SHOWN else f"{shown}; and {len(causes) - SHOWN} more"


def _changed(fact: tuple[str, str, str], current: tuple[str, str]) -> str:
    kind, name, value = fact
    name = name.removeprefix("./")
    match kind:
        case "package":
            return f"{name} {value or '(not installed)'} → {current[1] or 'not installed'}"
        case "prefix":
            return f"installed packages {name}*: {value} → {current[1]}"
        case "variable":
            return f"the environment variable {name} changed"
        case "machine":
            return "it read files outside the project on another machine"
        case "shadows":
            folder = name.partition(" in ")[2].removeprefix("./")
            return f"{current[1]} appeared in {'the project' if folder == '.' else folder}"
        case "module":
            return f"a package that brings {name} was {'installed' if current[1] else 'removed'}"
        case "link":
            return f"where {name} points changed"
        case "listing":
            return f"what the folder {name} holds changed"
        case _:
            pass
    match kind, current[0]:
        case "absent", _:
            return f"{name} appeared"
        case _, "absent":
            return f"{name} is gone"
        case _, "unreadable":
            return f"{name} cannot be read"
        case _:
            return f"{name} changed"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from _options(old.get("options"), new.get("options"), "")
    for name, value in new["inputs"].items():
        if old["inputs"].get(name) != value:
            yield f"its input {name} changed"
    for name, version in new["libraries"].items():
        before = old["libraries"].get(name)
        if before != version:
            yield f"{name} {before or '(not installed)'} → {version or 'not installed'}"
    for name, digest in new["variables"].items():
        if old["variables"].get(name) != digest:
            yield f"the environment variable {name} changed"
    if old["code"] != new["code"]:
        yield "onnxbuild's own code for it changed"
    for name, words in _WORDS.items():
        if old.get(name) != new.get(name):
            yield f"{words}: {_show(old.get(name))} → {_show(new.get(name))}"


_WORDS = {
    "run": "function",
    "order": "order of inputs or arguments",
    "outputs": "outputs",
    "threads": "threads",
    "folder": "folder of the recipe",
    "platform": "platform",
    "machine": "class of processor",
    "version": "version of keys",
}


def _options(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            place = f"{path}.{name}" if path else name
            yield from _options(old.get(name), new.get(name), place)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _options(before, after, f"{path}[{index}]")
    elif old != new or type(old) is not type(new):
        yield f"{path}: {_show(old)} → {_show(new)}"


def _show(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else value or "none"
    return text if len(text) <= 60 else text[:57] + "…"  # noqa: PLR2004 - keeps a cause on one line
