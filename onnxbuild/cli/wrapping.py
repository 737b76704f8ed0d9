"""Fitting prose into the width of a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 80
NARROWEST = 14
"""No column is broken into lines shorter than this: the table is wide then."""


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


def break_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]
) -> list[list[str]]:
    """Break the cells of some columns of a table so that its lines fit; each further part is a row of its own.

    The columns share the room that the others leave; one that needs less than its part gives the rest away.
    """
    needs = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = WIDTH - 2 * len(header) - sum(need for i, need in enumerate(needs) if i not in columns)
    widths: dict[int, int] = {}
    for place, column in enumerate(sorted(columns, key=lambda column: needs[column])):
        share = room // (len(columns) - place)
        widths[column] = min(needs[column], max(share, len(header[column]), NARROWEST))
        room -= widths[column]
    broken: list[list[str]] = []
    for row in rows:
        cells = [
            _break(cell, widths[column]) if column in widths else [cell]
            for column, cell in enumerate(row)
        ]
        height = max(map(len, cells))
        broken += [
            [cell[line] if line < len(cell) else "" for cell in cells] for line in range(height)
        ]
    return broken


def _break(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]
