"""Fitting prose into the width of a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 80
NARROWEST = 24
"""A last column that would have to be narrower than this is not broken: the table is wide then."""


def wrap(text: str, indent: str = "  ") -> str:
    """Break a paragraph into lines of at most 80 columns, each indented; words stay whole."""
    return textwrap.fill(
        " ".join(text.split()),
        width=WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def prose(text: str, indent: str = "") -> str:
    """Break each paragraph of a docstring, and take its markup off."""
    plain = text.replace("``", "`")
    return "\n\n".join(wrap(part, indent) for part in plain.split("\n\n") if part.strip())


def first_line(doc: str) -> str:
    """Give the first sentence-line of a docstring without markup."""
    return doc.strip().partition("\n")[0].replace("``", "`")


def break_last(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Break the last cells of a table's rows so that its lines fit; each part becomes a row of its own."""
    others = [max(map(len, column)) for column in zip(header, *rows, strict=True)][:-1]
    left = WIDTH - sum(others) - 2 * len(header)
    if left < NARROWEST:
        return [list(row) for row in rows]
    broken = []
    for row in rows:
        first, *rest = textwrap.wrap(
            row[-1], left, break_long_words=False, break_on_hyphens=False
        ) or [""]
        broken.append([*row[:-1], first])
        broken += [[*[""] * len(others), part] for part in rest]
    return broken
