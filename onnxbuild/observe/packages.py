"""Which distribution a file among the installed packages belongs to.

From the names of the ``dist-info`` folders where they tell, else from their ``RECORD`` files, read
once: `importlib.metadata` would import a third of the standard library.
"""

from __future__ import annotations

import os
from functools import cache

from onnxbuild.core.facts import installed, normalize
from onnxbuild.observe.scope import sites


def owners(path: str, site: str) -> tuple[str, ...]:
    """Give the distributions that a path below the folder `site` may belong to, usually one."""
    top, _, rest = path[len(site) + 1 :].partition("/")
    if top == "__pycache__":
        top = rest
    stem = top.removesuffix(".libs").partition(".")[0]
    name = normalize(stem)
    if name in installed():
        return (name,)
    index = _index(site)
    found = index.get(stem, ())
    if len(found) < 2:  # noqa: PLR2004
        return found
    # A namespace such as ``google`` that several distributions share.
    return index.get(f"{stem}/{rest.partition('/')[0].partition('.')[0]}", found)


def warm() -> None:
    """Read what `owners` needs, so that forked workers have it."""
    for folder in sites():
        _index(folder)


@cache
def requirements(distribution: str) -> tuple[str, ...]:
    """List what a distribution requires, optional extras aside."""
    for folder in sites():
        for name in _metadata(folder):
            if normalize(name.partition("-")[0]) == distribution:
                return _required(f"{folder}/{name}/METADATA")
    return ()


def _required(path: str) -> tuple[str, ...]:
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line == "\n":
                    break
                if line.startswith("Requires-Dist:") and "extra ==" not in line:
                    found.append(_leading_name(line[14:].strip()))
    except OSError:
        return ()
    return tuple(found)


def _leading_name(requirement: str) -> str:
    for position, letter in enumerate(requirement):
        if not (letter.isalnum() or letter in "-_."):
            return normalize(requirement[:position])
    return normalize(requirement)


@cache
def _metadata(site: str) -> tuple[str, ...]:
    try:
        return tuple(name for name in os.listdir(site) if name.endswith(".dist-info"))
    except OSError:
        return ()


@cache
def _index(site: str) -> dict[str, tuple[str, ...]]:
    """Map top-level names, and names one below, to distributions whose own name does not tell."""
    found: dict[str, list[str]] = {}
    for folder in _metadata(site):
        distribution = normalize(folder.partition("-")[0])
        for place in _places(f"{site}/{folder}/RECORD"):
            among = found.setdefault(place, [])
            if distribution not in among:
                among.append(distribution)
    return {place: tuple(among) for place, among in found.items()}


def _places(record: str) -> set[str]:
    places = set()
    try:
        with open(record, encoding="utf-8", errors="replace") as file:
            for line in file:
                parts = line.split("/", 2)
                first = parts[0].partition(",")[0]
                if first in {"..", "__pycache__"} or first.endswith(".dist-info"):
                    continue
                stem = first.partition(".")[0]
                places.add(stem)
                if len(parts) > 1:
                    places.add(stem + "/" + parts[1].partition(",")[0].partition(".")[0])
    except OSError:
        return set()
    return places
