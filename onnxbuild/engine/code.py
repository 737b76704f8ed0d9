"""The code behind a step: the source of its run module with all that it imports from onnxbuild."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from onnxbuild.core.digest import digest_bytes, digest_value

PACKAGE = "onnxbuild"
IMPORT = re.compile(
    rf"^[ \t]*(?:from|import)[ \t]+({PACKAGE}(?:\.\w+)*)(?:[ \t]+import[ \t]+(\([^)]*\)|.*))?",
    re.MULTILINE,
)
TEXT = re.compile(rf"""["']({PACKAGE}(?:\.\w+)+)[:"']""")
WORD = re.compile(r"\w+")
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@cache
def digest_code(module: str, *named: str) -> str:
    """Digest the source of a module of onnxbuild with all that it imports from onnxbuild, at any depth.

    `named` are modules that it imports besides, since its options name them.

    A module of another package is digested by its name alone: its version, or its files, are among
    the observations of the step, since the worker is seen to import it.
    """
    if module.partition(".")[0] != PACKAGE:
        return digest_value(["outside", module])
    closure: dict[str, str] = {}
    open_ends = [module, *named]
    while open_ends:
        name = open_ends.pop()
        path = find_source(name)
        if name in closure or path is None:
            continue
        closure[name], imported = _read(path, name)
        open_ends.extend(imported)
        parent = name.rpartition(".")[0]
        if parent:
            open_ends.append(parent)
    return digest_value(closure)


def named_modules(options: Any) -> list[str]:
    """List the modules of onnxbuild that plain `options` name as ``module:function``, sorted: rules, say."""
    found = set()
    open_ends = [options]
    while open_ends:
        match open_ends.pop():
            case str(text) if text.startswith(PACKAGE + ".") and ":" in text and _is_module(text):
                found.add(text.partition(":")[0])
            case dict() as mapping:
                open_ends.extend(mapping.values())
            case list() as items:
                open_ends.extend(items)
            case _:
                pass
    return sorted(found)


def find_source(module: str) -> str | None:
    """Give the file of a module of onnxbuild, or None when there is none of that name."""
    base = os.path.join(FOLDER, *module.split(".")[1:])
    for path in (base + ".py", os.path.join(base, "__init__.py")):
        if os.path.isfile(path):
            return path
    return None


@cache
def _read(path: str, module: str) -> tuple[str, tuple[str, ...]]:
    with open(path, "rb") as file:
        source = file.read()
    # The package itself only re-exports, lazily: what it names is not what a step imports.
    names = () if module == PACKAGE else tuple(_named(source.decode()))
    return digest_bytes(source), names


def _named(source: str) -> Iterator[str]:
    """Name every module of onnxbuild that a source may import, wherever the statement stands.

    Run modules are reached by name, so a name in a string is a dependency as well. The text is searched: to
    parse all that is behind a step took a second.
    """
    for found in IMPORT.finditer(source):
        yield found[1]
        yield from (f"{found[1]}.{word}" for word in WORD.findall(found[2] or ""))
    for found in TEXT.finditer(source):
        yield found[1]


def _is_module(text: str) -> bool:
    return text.startswith(PACKAGE + ".") and " " not in text and len(text) < 200  # noqa: PLR2004 - longer texts are prose
