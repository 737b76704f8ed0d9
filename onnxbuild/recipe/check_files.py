"""Mistakes in what a recipe names outside of itself: files, folders, callables. Runs no user code."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from onnxbuild.core.facts import importable
from onnxbuild.recipe.building import (
    RULE_KEYS,
    Registry,
    is_callable_name,
    rule_class,
    stage_class,
)
from onnxbuild.recipe.describe import marked
from onnxbuild.recipe.looking import Looking
from onnxbuild.recipe.mistakes import KeyPath, Mistake, did_you_mean, dotted
from onnxbuild.recipe.parsing import Definitions, Signature, callable_signature, definitions
from onnxbuild.recipe.schema import DataEntry, Input, Model, Verify
from onnxbuild.recipe.sources import Sources

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
FOLDERS = frozenset({("model", "huggingface")})
"""Paths that must be folders."""


def file_mistakes(
    data: Mapping[str, Any],
    sources: Sources,
    looking: Looking,
    registry: Registry,
    folder: str,
) -> Iterator[Mistake]:
    """Look for every file and callable that a completed recipe names."""
    files = _Files(sources, looking, folder)
    for mark, path, text in marked_text(data, registry):
        if mark == "path":
            yield from files.path_mistakes(path, text)
        elif mark == "entry":
            yield from files.entry_mistakes(path, text)
    model = data.get("model")
    if isinstance(model, Mapping):
        yield from files.call_mistakes(("model",), model, "entry", "kwargs", given=0)
    for name, entry in _items(data, "data"):
        yield from files.call_mistakes(("data", name), entry, "entry", "kwargs", given=0)
    for section, key in (("stages", "use"), ("replace", "rule")):
        for name, entry in _items(data, section):
            if is_callable_name(entry.get(key)):
                yield from files.entry_mistakes((section, name, key), str(entry[key]))
                # A rule for operators gets no model: it answers what they become.
                given = 0 if section == "replace" and entry.get("level") == "operator" else 1
                yield from files.call_mistakes((section, name), entry, key, "", given=given)


def marked_text(data: Mapping[str, Any], registry: Registry) -> Iterator[tuple[str, KeyPath, str]]:
    """Give the marked text of all sections, of stages and rules too."""
    yield from marked(Model, data.get("model"), ("model",))
    sections: tuple[tuple[str, type], ...] = (
        ("inputs", Input),
        ("data", DataEntry),
        ("verify", Verify),
    )
    for section, cls in sections:
        for name, entry in _items(data, section):
            yield from marked(cls, entry, (section, name))
    for name, stage in _items(data, "stages"):
        used = stage_class(stage, registry)
        if used is not None and not is_callable_name(stage.get("use")):
            yield from marked(used, stage, ("stages", name))
    for name, rule in _items(data, "replace"):
        found = rule_class(rule, registry)
        if found is not None and not is_callable_name(rule.get("rule")):
            yield from marked(found, rule, ("replace", name))


def _items(data: Mapping[str, Any], section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    entries = data.get(section)
    for name, entry in (entries if isinstance(entries, Mapping) else {}).items():
        if isinstance(entry, Mapping):
            yield name, entry


class _Files:
    def __init__(self, sources: Sources, looking: Looking, folder: str) -> None:
        self.sources = sources
        self.looking = looking
        self.folder = folder
        self.parsed: dict[str, Definitions | None] = {}

    def mistake(self, path: KeyPath, what: str, hint: str = "", part: Any = "value") -> Mistake:
        return Mistake(what, place=self.sources.place(path, part), hint=hint, path=path)

    def path_mistakes(self, path: KeyPath, text: str) -> Iterator[Mistake]:
        full = os.path.join(self.folder, text)
        kind = self.looking.kind(full)
        if kind == "absent":
            yield self.mistake(path, f"there is no file {text}", self.nearest(text))
        elif path in FOLDERS and kind != "folder":
            yield self.mistake(
                path, f"{text} is no folder", "it takes what save_pretrained() wrote"
            )
        elif kind == "folder" and path[0] == "model" and path not in FOLDERS:
            yield self.mistake(path, f"{text} is a folder, not a file")
        elif path[0] == "data" and kind == "file" and not text.endswith(".npz"):
            yield self.mistake(
                path,
                f"data cannot be read from {text}",
                "it takes an .npz file, a folder of .npz or .npy files, or a callable: file.py:name",
            )
        elif path == ("model", "weights", "path") and not text.endswith(WEIGHTS):
            yield self.mistake(
                path, f"weights cannot be read from {text}", f"it takes {', '.join(WEIGHTS)}"
            )

    def nearest(self, text: str) -> str:
        above = os.path.dirname(os.path.join(self.folder, text))
        if self.looking.kind(above) == "absent":
            inside = os.path.relpath(above, self.folder)
            return (
                f"there is no folder {inside} beside the recipe; paths are relative to its folder"
            )
        names = [name for name in self.looking.names(above) if not name.startswith(".")]
        near = did_you_mean(os.path.basename(text), names)
        if not near.startswith("did you mean"):
            return "paths are relative to the recipe's folder"
        name = near.split("'")[1]
        return f"did you mean {os.path.join(os.path.dirname(text), name)!r}?"

    def entry_mistakes(self, path: KeyPath, text: str) -> Iterator[Mistake]:
        place, colon, name = text.rpartition(":")
        if not colon:
            yield from self.plain_name_mistakes(path, text)
        elif not place or not name.replace(".", "_").isidentifier():
            yield self.mistake(path, f"{text!r} names no callable", _FORM)
        elif not place.endswith(".py"):
            yield from self.module_mistakes(path, place)
        else:
            yield from self.defined_mistakes(path, place, name)

    def plain_name_mistakes(self, path: KeyPath, text: str) -> Iterator[Mistake]:
        """Look at a name without a colon: a dotted path to a class, or something forgotten."""
        if text.endswith(".py"):
            found = self.definitions(text)
            names = sorted({*found.functions, *found.classes}) if found else []
            hint = f"write {text}:name; it has {', '.join(names)}" if names else _FORM
            yield self.mistake(
                path, f"{text} is a file, and which callable of it is not said", hint
            )
        elif "." not in text or not text.replace(".", "_").isidentifier():
            yield self.mistake(path, f"{text!r} names no callable", _FORM)
        else:
            yield from self.module_mistakes(path, text)

    def module_mistakes(self, path: KeyPath, module: str) -> Iterator[Mistake]:
        first = module.partition(".")[0]
        beside = os.path.join(self.folder, *module.split(".")) + ".py"
        known = first in sys.builtin_module_names or first in sys.stdlib_module_names
        if first in importable():
            self.looking.note("module", first, "installed")
            return
        if known or importlib.machinery.PathFinder.find_spec(first) is not None:
            return
        if self.looking.kind(beside) == "file":
            as_path = os.path.relpath(beside, self.folder)
            yield self.mistake(
                path, f"there is no package {first!r}", f"a file is named as {as_path}:name"
            )
        elif not any(_finds(finder, first) for finder in sys.meta_path):
            yield self.mistake(path, f"there is no package {first!r}", "is it installed here?")

    def defined_mistakes(self, path: KeyPath, file: str, name: str) -> Iterator[Mistake]:
        if self.looking.kind(os.path.join(self.folder, file)) != "file":
            yield self.mistake(path, f"there is no file {file}", self.nearest(file))
            return
        try:
            found = self.definitions(file)
        except (SyntaxError, ValueError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            said = error.msg if isinstance(error, SyntaxError) else str(error)
            yield self.mistake(path, f"{file}{line} is not Python: {said}")
            return
        first = name.partition(".")[0]
        if found is not None and first not in found.names and not found.open:
            hint = did_you_mean(first, {*found.functions, *found.classes})
            yield self.mistake(path, f"{file} has no {first!r}", hint)

    def definitions(self, file: str) -> Definitions | None:
        full = os.path.join(self.folder, file)
        if full not in self.parsed:
            content = self.looking.read(full)
            self.parsed[full] = None if content is None else definitions(content)
        return self.parsed[full]

    def signature(self, entry: Any) -> Signature | None:
        if not isinstance(entry, str) or ".py:" not in entry:
            return None
        file, _, name = entry.rpartition(":")
        try:
            found = self.definitions(file)
        except (SyntaxError, ValueError):
            # Said where the entry itself is looked at.
            return None
        return callable_signature(found, name) if found else None

    def call_mistakes(
        self, path: KeyPath, entry: Mapping[str, Any], key: str, under: str, *, given: int
    ) -> Iterator[Mistake]:
        """Compare options with the signature of what they are given to.

        The options are the mapping `under` a key, or the entry's own other keys; `given` counts the arguments
        that come by position.
        """
        taken = self.signature(entry.get(key))
        if taken is None:
            return
        options = entry.get(under, {}) if under else _own_options(entry)
        if not isinstance(options, Mapping):
            return
        at = (*path, under) if under else path
        name = str(entry[key])
        names = [*taken.required, *taken.optional]
        if taken.positional < given and not taken.anything:
            yield self.mistake((*path, key), f"{name} takes no argument; it gets the model")
            return
        by_position = taken.required[:given]
        allowed = [other for other in names if other not in by_position]
        for option in options:
            if option not in allowed and not taken.anything:
                yield self.mistake(
                    (*at, option),
                    f"{name} takes no {option!r}",
                    did_you_mean(option, allowed),
                    "key",
                )
        missing = [other for other in taken.required[given:] if other not in options]
        for other in missing:
            yield self.mistake(
                (*path, key), f"{name} needs {other!r}", f"give it under {_name(at)}"
            )


def _own_options(entry: Mapping[str, Any]) -> dict[str, Any]:
    own = {"use", "from", *RULE_KEYS}
    return {key: value for key, value in entry.items() if key not in own}


def _name(path: KeyPath) -> str:
    return f"`{dotted(path)}:`"


def _finds(finder: Any, name: str) -> bool:
    find = getattr(finder, "find_spec", None)
    return find is not None and find(name, None) is not None


_FORM = "write path/file.py:name, or package.module:name"
