"""What project code imports that is already there, and what nobody has installed.

A module that a server loaded before it forked raises no event when it is imported again. It is a
dependency of a step only when project code imports it.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import os
import sys
from typing import Any

from onnxbuild.core.facts import importable, normalize
from onnxbuild.errors import StepError
from onnxbuild.observe import native, switch
from onnxbuild.observe.loader import hidden_file
from onnxbuild.observe.packages import owners
from onnxbuild.observe.record import Record
from onnxbuild.observe.scope import OUTSIDE, PROJECT, SITE, resolve
from onnxbuild.observe.switch import tell

_installed = False


def install() -> None:
    """Replace `__import__`, `importlib.import_module` and `importlib.util.find_spec`, once in a process."""
    global _installed  # noqa: PLW0603  the wrapped functions stay
    if _installed:
        return
    _installed = True
    builtins.__import__ = _wrap_import(builtins.__import__)
    importlib.import_module = _wrap_import_module(importlib.import_module)
    importlib.util.find_spec = _wrap_find_spec(importlib.util.find_spec)


def _wrap_import(original: Any) -> Any:
    modules = sys.modules

    @functools.wraps(original)
    def __import__(  # noqa: A001, N807
        name: str,
        globals: Any = None,  # noqa: A002
        locals: Any = None,  # noqa: A002
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        # A dynamo export comes through here 40,000 times.
        try:
            module = original(name, globals, locals, fromlist, level)
        except ModuleNotFoundError as error:
            tell(_see_missing, error.name, globals)
            raise
        if len(modules) != native.known_modules:
            native.wrap_loaded()
        if level == 0 and globals is not None and switch.current is not None:
            importer = globals.get("__file__")
            if importer.__class__ is str and importer not in switch.libraries:
                tell(_see_import, name, fromlist, importer)
                _refuse_hidden()
        return module

    return __import__


def _wrap_import_module(original: Any) -> Any:
    @functools.wraps(original)
    def import_module(name: str, package: str | None = None) -> Any:
        try:
            module = original(name, package)
        except ModuleNotFoundError as error:
            tell(_see_missing, error.name, sys._getframe(1).f_globals)
            raise
        native.wrap_loaded()
        if switch.is_on() and not name.startswith("."):
            tell(_see_import, name, (), sys._getframe(1).f_globals.get("__file__"))
            _refuse_hidden()
        return module

    return import_module


def _wrap_find_spec(original: Any) -> Any:
    @functools.wraps(original)
    def find_spec(name: str, package: str | None = None) -> Any:
        spec = original(name, package)
        if spec is None:
            tell(_see_missing, name, sys._getframe(1).f_globals)
        elif switch.is_on():
            tell(_see_import, name, (), sys._getframe(1).f_globals.get("__file__"))
        return spec

    return find_spec


def _see_missing(record: Record, name: str | None, importer: Any) -> None:
    """Project code looked for a module that nobody has: installing it would change what the step sees."""
    file = (importer or {}).get("__file__")
    if not isinstance(file, str) or not record.is_project_file(file):
        # What a library looks for, it has as a library of its version does.
        return
    if (
        name
        and "." not in name
        and name not in importable()
        and name not in sys.stdlib_module_names
    ):
        record.module(name)


def _see_import(record: Record, name: str, fromlist: Any, importer: Any) -> None:
    if not isinstance(importer, str):
        return
    if not record.is_project_file(importer):
        switch.libraries.add(importer)
        return
    names = {name, name.partition(".")[0], *(f"{name}.{item}" for item in fromlist or ())}
    for each in names:
        module = sys.modules.get(each)
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            _see_module(record, file)
    _look_behind(record, name.partition(".")[0])


def _look_behind(record: Record, name: str) -> None:
    """See that project code which imports a module that was loaded before does not mean a file of its own."""
    module = sys.modules.get(name)
    file = resolve(getattr(module, "__file__", None) or "")
    if module is None or file is None or name in record.looked_behind:
        return
    record.looked_behind.add(name)
    if not record.is_project_file(file) and (hidden := hidden_file(module, record)):
        record.hidden[name] = hidden


def _refuse_hidden() -> None:
    """Raise `StepError` where project code got a library in place of a file beside it."""
    record = switch.current
    if record is None or not record.hidden:
        return
    name, path = record.hidden.popitem()
    short = os.path.relpath(path, record.scope.root)
    raise StepError(
        f"{short} has the name of the installed module {name!r}, which is loaded before it: an import"
        f" of {name!r} gives the installed one",
        where=short,
        hint="rename the file, and what imports it",
    )


def _see_module(record: Record, file: str) -> None:
    path = resolve(file)
    if path is None:
        return
    kind, placed = record.scope.place(path)
    if kind in {PROJECT, OUTSIDE}:
        record.look(path, opened=True)
    if kind != SITE:
        return
    site = record.scope.site(placed)
    for distribution in owners(placed, site) if site else ():
        record.package_with_requirements(distribution, _loaded_distributions)


def _loaded_distributions(record: Record) -> set[str]:
    """The distributions of what is imported now."""
    found = set()
    for name, module in list(sys.modules.items()):
        if "." in name:
            continue
        found.add(normalize(name))
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            site = record.scope.site(file)
            found.update(owners(file, site) if site else ())
    return found
