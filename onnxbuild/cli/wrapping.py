"""Fitting prose into the width of a page."""

from __future__ import annotations

import textwrap

WIDTH = 80


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
