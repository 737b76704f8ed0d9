"""Where in a recipe an override leads, though names of inputs have dots of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from onnxbuild.recipe.mistakes import KeyPath
from onnxbuild.recipe.schema import Input
from onnxbuild.recipe.sources import EXPANDED

KEYS = {"inputs": {*(field.name for field in dataclasses.fields(Input)), "value", "expand"}}
"""By section, the keys of its entries, which end a name. In others it is a number, or the last word."""


def find_paths(data: Mapping[str, Any], words: Sequence[str]) -> list[KeyPath]:
    """Give the keys that the words of an override lead through.

    What is there is found with the longest name: ``inputs.past.0.key.dtype`` is the ``dtype`` of ``past.0.key``.
    ``inputs.past.dtype`` is that of all the inputs whose names begin with ``past.``, where none is called so.
    """
    path: list[str] = []
    at: Any = data
    while len(path) < len(words):
        rest = words[_length(path) :]
        if not rest:
            break
        name = _longest(at, rest)
        if name is None and len(path) == 1 and path[0] in EXPANDED and not isinstance(at, list):
            return _entries(path[0], at or {}, rest)
        name = rest[0] if name is None else name
        path.append(name)
        at = at.get(name) if isinstance(at, Mapping) else None
    return [tuple(path)]


def _length(path: Sequence[str]) -> int:
    return sum(len(name.split(".")) for name in path)


def _longest(at: Any, words: Sequence[str]) -> str | None:
    if isinstance(at, Mapping):
        for end in range(len(words), 0, -1):
            name = ".".join(words[:end])
            if name in at:
                return name
    return None


def _entries(section: str, at: Mapping[str, Any], words: Sequence[str]) -> list[KeyPath]:
    """Give the paths to an entry that is new, or that was written out as many."""
    end = len(words)
    if section in KEYS:
        end = next((i for i, word in enumerate(words) if i and word in KEYS[section]), end)
    elif len(words) > 1 and (words[-1].isdigit() or section == "outputs"):
        end -= 1
    name, rest = ".".join(words[:end]), words[end:]
    many = [key for key in at if key.startswith(f"{name}.")] if rest else []
    return [(section, key, *rest) for key in many or [name]]
