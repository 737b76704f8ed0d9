"""How project code is imported: from source only, and seen.

A same-size edit with its time restored makes Python run a stale ``.pyc``; so the bytecode caches of
project code are neither read nor written. Libraries keep theirs: recompiling scikit-learn doubles its
import. Beside the found file, the places that would have come before it are part of what an import
depends on, and nothing else of the folder is.
"""

from __future__ import annotations

import _imp
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType
from typing import Any

from onnxbuild.observe import switch
from onnxbuild.observe.record import Record
from onnxbuild.observe.scope import OUTSIDE, PROJECT, interpreter, resolve, sites
from onnxbuild.observe.switch import tell

LOADERS: tuple[tuple[str, Any], ...] = (
    *((suffix, ExtensionFileLoader) for suffix in EXTENSION_SUFFIXES),
    *((suffix, SourceFileLoader) for suffix in SOURCE_SUFFIXES),
    *((suffix, SourcelessFileLoader) for suffix in BYTECODE_SUFFIXES),
)
"""In the order in which Python looks."""

_loaded: set[str] = set()
_original_get_code = SourceFileLoader.get_code


class ProjectFinder(FileFinder):
    """Finds modules in one folder of project code, without listing it."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module, and take note of the places that were looked at before it was found."""
        if not switch.is_on():
            return super().find_spec(fullname, target)
        name = fullname.rpartition(".")[2]
        base = os.path.join(self.path, name)
        is_folder = _is_folder(base)
        missed: list[str] = []
        for path, loader, inside in _candidates(base):
            if (inside is None or is_folder) and _is_file(path):
                tell(_look_at_all, missed)
                return spec_from_file_location(
                    fullname,
                    path,
                    loader=loader(fullname, path),
                    submodule_search_locations=inside,
                )
            missed.append(path)
        if is_folder:
            tell(_look_at_all, [base, *missed])
            spec = ModuleSpec(fullname, None)
            spec.submodule_search_locations = [base]
            return spec
        tell(Record.shadow, resolve(self.path), name)
        return None


def hidden_file(module: ModuleType, record: Record) -> str | None:
    """Give the project's file that Python, were `module` not imported yet, would have taken for it.

    Notes for the record in which folders none is. What Python has built in comes before all folders.
    """
    name = module.__name__
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or name in sys.builtin_module_names or _imp.is_frozen(name):
        return None
    home = os.path.dirname(file)
    if os.path.basename(file).startswith("__init__."):
        home = os.path.dirname(home)
    for entry in sys.path:
        folder = resolve(entry)
        if folder == home:
            return None
        if folder is None or record.scope.place(folder)[0] not in {PROJECT, OUTSIDE}:
            continue
        base = os.path.join(folder, name)
        is_folder = _is_folder(base)
        for path, _, inside in _candidates(base):
            if (inside is None or is_folder) and _is_file(path):
                return path
        if is_folder:
            # A folder without an __init__.py gives way to any module of its name further on.
            for path, _, _ in _candidates(base):
                record.look(path)
        else:
            record.shadow(folder, name)
    return None


def _candidates(base: str) -> list[tuple[str, Any, list[str] | None]]:
    """List the files that may be a module, its loader and its folder, in the order in which Python looks."""
    places: list[tuple[str, Any, list[str] | None]] = [
        (f"{base}/__init__{suffix}", loader, [base]) for suffix, loader in LOADERS
    ]
    return places + [(base + suffix, loader, None) for suffix, loader in LOADERS]


def install() -> None:
    """Put the finder first and make loaders compile project code from source, once in a process."""
    if find_hook not in sys.path_hooks:
        sys.path_hooks.insert(0, find_hook)
        SourceFileLoader.get_code = _get_code  # type: ignore[assignment,method-assign]


def find_hook(path: str) -> ProjectFinder:
    """Take over a folder of project code. Raises `ImportError` for any other, as path hooks do."""
    if not is_project(path):
        raise ImportError(path)
    if not _is_folder(path):
        tell(_look_at_all, [path])
        raise ImportError(path)
    return ProjectFinder(path, *((loader, [suffix]) for suffix, loader in LOADERS))


def is_project(path: str) -> bool:
    """Tell whether the record that is set observes a path file by file."""
    record = switch.current
    if record is None or switch.state.busy:
        return False
    switch.state.busy = True
    try:
        found = resolve(path)
        return found is not None and record.scope.place(found)[0] in {PROJECT, OUTSIDE}
    finally:
        switch.state.busy = False


def forget_finders() -> None:
    """Make Python ask for the finders of folders anew: some may have been made before, or for, a record."""
    packages = tuple(folder + "/" for folder in sites())
    for path, finder in list(sys.path_importer_cache.items()):
        if path.startswith(packages) and finder is not None:
            continue
        if finder is None or isinstance(finder, ProjectFinder) or is_project(path):
            sys.path_importer_cache.pop(path, None)


def project_modules(folders: Iterable[str] = ()) -> list[str]:
    """Name the imported modules of project code: those below `folders`, and those a record saw loaded."""
    below = tuple(folder.rstrip("/") + "/" for folder in folders)
    found = []
    for name, module in list(sys.modules.items()):
        if name == "__main__":
            continue
        places = _places(module)
        if name in _loaded or (below and any(place.startswith(below) for place in places)):
            found.append(name)
    return found


def drop_project_modules(folders: Iterable[str] = ()) -> None:
    """Forget project code, so that the next step imports, and is seen to import, what is there now.

    `folders` are the project root and its named roots. Installed packages below them stay.
    """
    kept = tuple(folder + "/" for folder in (*interpreter(), *sites()))
    for name in project_modules(folders):
        module = sys.modules.get(name)
        if name.partition(".")[0] == "onnxbuild" or any(
            place.startswith(kept) for place in _places(module)
        ):
            continue
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and sys.modules[parent].__dict__.get(child) is module:
            delattr(sys.modules[parent], child)
    _loaded.clear()
    import linecache

    linecache.checkcache()


def _places(module: Any) -> list[str]:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        # A relative one is no file: torch.ops says that it is `_ops.py`.
        return [file] if os.path.isabs(file) else []
    try:
        return [os.path.abspath(folder) + "/" for folder in getattr(module, "__path__", ())]
    except (TypeError, KeyError, AttributeError):
        return []


def _get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
    """`SourceFileLoader.get_code`, without bytecode caches where the file is project code."""
    path = self.get_filename(fullname)
    if not is_project(path):
        return _original_get_code(self, fullname)
    _loaded.add(fullname)
    return self.source_to_code(self.get_data(path), path)


def _look_at_all(record: Record, paths: Sequence[str]) -> None:
    for path in paths:
        record.look(resolve(path))


def _is_file(path: str) -> bool:
    return _quietly(os.path.isfile, path)


def _is_folder(path: str) -> bool:
    return _quietly(os.path.isdir, path)


def _quietly(look: Any, path: str) -> bool:
    switch.state.busy = True
    try:
        return bool(look(path))
    finally:
        switch.state.busy = False
