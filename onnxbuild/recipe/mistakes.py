"""Mistakes in a recipe: what is wrong, the source under a caret, where the value came from, a hint.

Plain text, so that it reads the same on a terminal, in a log and in a test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from onnxbuild.errors import OnnxbuildError

KeyPath: TypeAlias = tuple[str, ...]
"""Where a value is in a recipe: ``("inputs", "image", "shape", "0")``."""

WIDEST = 96
"""Characters of a source line that are shown; longer ones are cut around the caret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A stretch of text that the user wrote."""

    source: str
    """The file, as the user would name it; empty for an override."""

    line: int = 0
    """Counted from 1; 0 for a file as a whole."""

    column: int = 0
    """Counted from 1."""

    width: int = 1
    """How many characters the caret underlines."""

    text: str = ""
    """The whole line, or the override."""

    origin: str = ""
    """Whence the value came, when it is not the recipe itself: ``the environment ci``."""

    order: int = 0
    """Position of the source among all; mistakes are sorted by it."""

    @property
    def where(self) -> str:
        """The place in one word that editors and terminals can open."""
        if not self.source:
            return ""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    def excerpt(self) -> list[str]:
        """Give the line with a caret under it."""
        if not self.text:
            return []
        text, column = _cut(self.text.replace("\t", " "), self.column - 1)
        gutter = f"  {self.line} | " if self.line else "  "
        width = max(1, min(self.width, len(text) - column))
        blank = " " * (len(gutter) - 2) + "| " if self.line else gutter
        return [f"{gutter}{text}", f"{blank}{' ' * column}{'^' * width}"]


class Mistake(OnnxbuildError):  # noqa: N818 - it is what a recipe holds, and is raised in a RecipeError
    """One mistake in a recipe."""

    exit_code = 2

    def __init__(
        self, what: str, *, place: Place | None = None, hint: str = "", path: KeyPath = ()
    ) -> None:
        where = (place.where or place.origin) if place else ""
        super().__init__(what, where=where, hint=hint)
        self.place = place
        self.path = path

    def __str__(self) -> str:
        place = self.place
        where = place.where if place else ""
        head = [f"{where}: {self.what}" if where else self.what]
        body = place.excerpt() if place else []
        origin = [f"  from {place.origin}"] if place and place.origin else []
        hint = [f"  hint: {self.hint}"] if self.hint else []
        return "\n".join(head + body + origin + hint)


def in_order(mistakes: Iterable[Mistake]) -> list[OnnxbuildError]:
    """Sort mistakes as they stand in their sources, each once."""
    kept: dict[tuple[str, str], Mistake] = {}
    for mistake in mistakes:
        kept.setdefault((mistake.where, mistake.what), mistake)
    return [*sorted(kept.values(), key=_order)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest of the known names, else name them all when they are few."""
    names = sorted(set(known))
    lowered = {other.lower(): other for other in names}
    near = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"did you mean {lowered[near[0]]!r}?"
    if names and len(names) <= 16:  # noqa: PLR2004 - what reads well in one line or two
        return f"there {'is' if len(names) == 1 else 'are'}: {', '.join(names)}"
    return ""


def dotted(path: KeyPath) -> str:
    """Write a path as overrides do: ``inputs.image.shape.0``."""
    return ".".join(path)


def _order(mistake: Mistake) -> tuple[int, int, int]:
    place = mistake.place
    return (place.order, place.line, place.column) if place else (-1, 0, 0)


def _cut(text: str, column: int) -> tuple[str, int]:
    if len(text) <= WIDEST:
        return text, column
    start = max(0, min(column - WIDEST // 2, len(text) - WIDEST))
    cut = text[start : start + WIDEST]
    if start:
        cut = "…" + cut[1:]
    if start + WIDEST < len(text):
        cut = cut[:-1] + "…"
    return cut, column - start
