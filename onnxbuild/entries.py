"""Callables of the user's, by the names that a recipe gives them.

``path/file.py:name``, relative to the working directory; ``package.module:name``; or the dotted path
of something in an installed package, ``torch.nn.SiLU``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

from onnxbuild.errors import StepError


def load(entry: str) -> Any:
    """Give what `entry` names. Code of the user's runs: what it raises is passed on as it is.

    Raises `StepError` where there is no such file, module or name.
    """
    source, colon, name = entry.rpartition(":")
    if not colon:
        return _load_dotted(entry)
    module = import_file(source) if source.endswith(".py") else _import_named(source, entry)
    return _find(module, name, entry)


def import_file(path: str) -> ModuleType:
    """Import a Python file as pytest's ``prepend`` mode does.

    The first folder upwards without ``__init__.py`` goes first on `sys.path`, and the dotted name
    follows from there. So the file's own imports work as they do beside a script.
    """
    full = os.path.abspath(path)
    if not os.path.isfile(full):
        raise StepError(
            f"there is no file {path}", where=path, hint=_suggest_file(full) or "the path is relative"
            " to the recipe's folder"
        )  # fmt: skip
    base, name = _split(full)
    if base in sys.path:
        sys.path.remove(base)
    sys.path.insert(0, base)
    module = import_module(name)
    origin = getattr(module, "__file__", None)
    if origin is None or not os.path.samefile(origin, full):
        raise StepError(
            f"{path} cannot be imported as {name!r}: that is already the module {origin or name}",
            where=path,
            hint="rename the file, or make its folder a package with an __init__.py",
        )
    return module


def _split(path: str) -> tuple[str, str]:
    folder, file = os.path.split(path)
    names = [] if file == "__init__.py" else [file.removesuffix(".py")]
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.dirname(folder) != folder:
        folder, name = os.path.split(folder)
        names.insert(0, name)
    return folder, ".".join(names)


def _suggest_file(path: str) -> str:
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        return f"there is no folder {os.path.relpath(folder)} either"
    return _suggest(name, [file for file in os.listdir(folder) if file.endswith(".py")])


def _import_named(name: str, entry: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # A module that the user's code lacks is the user's error, and passed on.
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise StepError(
            f"there is no module {error.name!r}",
            where=entry,
            hint=f"install the package, or name a file: {name.replace('.', '/')}.py:…",
        ) from None


def _load_dotted(entry: str) -> Any:
    parts = entry.split(".")
    if len(parts) == 1:
        raise StepError(
            f"{entry!r} names no callable",
            where=entry,
            hint="write path/file.py:name, package.module:name or a dotted path such as torch.nn.SiLU",
        )
    module = _import_named(parts[0], entry)
    names = parts[1:]
    while names and not hasattr(module, names[0]):
        inner = f"{module.__name__}.{names[0]}"
        try:
            module = import_module(inner)
        except ModuleNotFoundError as error:
            if error.name != inner:
                raise
            break
        names = names[1:]
    return _find(module, ".".join(names), entry) if names else module


def _find(module: ModuleType, name: str, entry: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = [other for other in vars(found) if not other.startswith("_")]
            raise StepError(
                f"{module.__name__} has no {name!r}",
                where=entry,
                hint=_suggest(part, public)
                or f"it has: {', '.join(sorted(public)[:10]) or 'nothing'}",
            )
        found = getattr(found, part)
    return found


def _suggest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
