"""Symbolic links: by which names the files behind them may have been opened.

The kernel tells of an open by the name of the file itself. What a result depends on is the name that was used:
where that is a link, it may point elsewhere tomorrow.
"""

from __future__ import annotations

import os


class Links:
    """The links that a net has come upon."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        """By real path, the links that lead there."""

    def add(self, link: str, real: str) -> None:
        """Note that a link leads to a real path."""
        names = self._names.setdefault(real, [])
        if link not in names:
            names.append(link)

    def names(self, path: str) -> list[str]:
        """Give the other names that a file has by way of links that still lead to it."""
        if not self._names:
            return []
        real = os.path.realpath(path)
        above, rest = real, ""
        found = []
        while above:
            found += [name + rest for name in self._names.get(above, ())]
            above, _, last = above.rpartition("/")
            rest = f"/{last}{rest}"
        return [name for name in found if name != path and os.path.realpath(name) == real]
