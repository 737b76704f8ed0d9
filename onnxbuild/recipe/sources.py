"""Where the values of a composed recipe came from: the recipe, an environment, an override."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from onnxbuild.recipe.mistakes import KeyPath, Place
from onnxbuild.recipe.reader import Document

Part: TypeAlias = Literal["key", "value"]

SHORT = frozenset({"shape", "path", "use", "entry"})
"""Keys that a short form leaves out: what is under them may stand one level higher in the text."""

EXPANDED = frozenset({"inputs", "outputs", "dynamic_axes"})
"""Sections whose entries may be written once for many names."""

MOVED = {"constants": ("inputs", "value"), "feeds": ("outputs", "feeds")}
"""Sections that are written in others, and by what key."""


class Layer(Protocol):
    """One source of values. Later layers beat earlier ones."""

    def find(self, path: KeyPath, part: Part, order: int) -> Place | None:
        """Say where this source gives the value at exactly `path`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayer:
    """A file, whose content stands at `prefix` of the recipe."""

    document: Document
    prefix: KeyPath = ()
    origin: str = ""

    def find(self, path: KeyPath, part: Part, order: int) -> Place | None:
        """Say where the file gives the value at exactly `path`."""
        if path[: len(self.prefix)] != self.prefix:
            return None
        inner = path[len(self.prefix) :]
        if not path:
            # What is missing is nowhere: to show the first line under a caret would mislead.
            name = self.document.name
            return Place(source=name, line=1, column=1, origin=self.origin, order=order)
        table = self.document.keys if part == "key" else self.document.values
        span = table.get(inner)
        if span is None:
            return None
        return self.document.place(span, origin=self.origin, order=order)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideLayer:
    """An override of the command line."""

    text: str
    path: KeyPath
    paths: frozenset[KeyPath] = frozenset()
    """All that it gives, below `path` too."""

    def find(self, path: KeyPath, part: Part, order: int) -> Place | None:
        """Say where the override gives the value at exactly `path`."""
        if path not in self.paths:
            return None
        key, _, value = self.text.partition("=")
        in_key = part == "key" and len(path) <= len(self.path)
        column, width = (
            (len(key) + 1, len(value)) if not in_key else self._segment(key, max(0, len(path) - 1))
        )
        return Place(
            source="",
            column=column + 1,
            width=max(1, width),
            text=self.text,
            origin=f"the override `{self.text}`",
            order=order,
        )

    def _segment(self, key: str, depth: int) -> tuple[int, int]:
        names = key.lstrip("+~")
        start = len(key) - len(names)
        # A name may have dots itself, and an override of many gives their common part alone.
        inner = start + sum(len(part) + 1 for part in self.path[:depth])
        if depth >= len(self.path) or not names.endswith(".".join(self.path[depth:])):
            return start, len(names)
        return inner, len(self.path[depth])


@dataclass(slots=True)
class Sources:
    """All layers of a composed recipe, in the order in which they are laid over one another."""

    layers: list[Layer] = field(default_factory=list)
    recipe: int = 0
    """Which of them is the recipe file itself."""
    groups: tuple[str, ...] = ("env", "executor", "store")
    """The groups of configs from which an override may choose."""

    def place(self, path: KeyPath, part: Part = "value") -> Place | None:
        """Say where the value at `path` was written, or the nearest thing around it."""
        for candidate in _candidates(path):
            for order in range(len(self.layers) - 1, -1, -1):
                found = self.layers[order].find(candidate, part, order)
                if found is not None and (candidate or order == self.recipe):
                    return found
        return None

    def written(self, path: KeyPath) -> KeyPath:
        """Give the path as it stands in a source, where its entry was written once for many names."""
        for candidate in _as_written(path):
            if self.given(candidate[:2]):
                return candidate
        return path

    def given(self, path: KeyPath) -> bool:
        """Tell whether any source gives a value at exactly `path`."""
        return any(layer.find(path, "key", 0) for layer in self.layers)


def _candidates(path: KeyPath) -> Iterator[KeyPath]:
    for end in range(len(path), -1, -1):
        for written in _as_written(path[:end]):
            yield written
            for index in range(len(written)):
                if written[index] in SHORT:
                    yield (*written[:index], *written[index + 1 :])


def _as_written(path: KeyPath) -> Iterator[KeyPath]:
    """Give the places where the value at a path may stand: a name with dots may be one that was expanded."""
    yield path
    if len(path) > 1 and path[0] in EXPANDED:
        parts = path[1].split(".")
        for end in range(len(parts) - 1, 0, -1):
            yield (path[0], ".".join(parts[:end]), *path[2:])
    if len(path) > 1 and path[0] in MOVED:
        section, key = MOVED[path[0]]
        yield from _as_written((section, path[1], key, *path[2:]))
