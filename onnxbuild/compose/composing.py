"""Compose a recipe anew: read, lay over one another, resolve, complete, check, build."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from onnxbuild import registry
from onnxbuild.compose.configs import ENV, PRIMARY, Configs, Part, parts_of
from onnxbuild.compose.overrides import apply, nest, parse
from onnxbuild.compose.values import lay, resolve
from onnxbuild.core.facts import installed, prefixed
from onnxbuild.core.trace import Fact
from onnxbuild.errors import RecipeError, UsageError
from onnxbuild.project import store_folder
from onnxbuild.recipe.building import Registry, build_recipe, rule_class, spell_out, stage_class
from onnxbuild.recipe.canonical import complete, default_name, write_out
from onnxbuild.recipe.check import check
from onnxbuild.recipe.looking import Looking
from onnxbuild.recipe.mistakes import did_you_mean, in_order
from onnxbuild.recipe.reader import Document, read
from onnxbuild.recipe.schema import Recipe
from onnxbuild.recipe.sources import FileLayer, Sources

PACKAGES = ("hydra-core", "omegaconf", "pyyaml", "jsonschema", "onnxbuild")
PREFIXES = ("hydra", "onnxbuild")
"""Plugins of Hydra's and of our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """All that composing a recipe gave."""

    recipe: Recipe
    completed: Mapping[str, Any]
    canonical: Mapping[str, Any]
    folder: str
    facts: tuple[Fact, ...]
    signatures: Mapping[str, tuple[int, int, int, int]]
    sources: tuple[str, ...]
    ignored: tuple[str, ...]
    may_be_remembered: bool
    """No file changed while it was read."""


class Known:
    """The registry, asked once for each name: entry points cost tens of milliseconds."""

    def __init__(self, source: Registry) -> None:
        self.names = cache(source.names)
        self.resolve = cache(source.resolve)


def compose_anew(
    path: str, overrides: Sequence[str], *, root: str, shown_as: str, source: Registry = registry
) -> Composed:
    """Compose and check the recipe at `path`. Raises `RecipeError` with every mistake found."""
    known = Known(source)
    folder = os.path.dirname(path)
    ignored = (
        store_folder(root),
        os.path.join(root, ".onnxbuild"),
        os.path.join(root, "artifacts"),
    )
    looking = Looking(root, ignored)
    document = read_recipe(path, shown_as, looking)
    configs = Configs(document, search_path(folder, root), looking)
    parsed = parse(overrides, configs)
    parts, mistakes = parts_of(configs, list(parsed.groups), parsed.texts)
    mistakes = [*parsed.mistakes, *mistakes]
    if mistakes and "defaults" in document.data:
        # What the recipe is based on may be missing: what it seems to lack then misleads.
        raise RecipeError(in_order(mistakes))
    data, sources = lay_parts(parts)
    sources.groups = tuple(configs.groups())
    data, layers, wrong = apply(data, parsed.values)
    sources.layers += layers
    mistakes += wrong
    data, wrong = resolve(data, sources, looking)
    mistakes += wrong
    completed = complete(write_out(data), stem=default_name(path), registry=known)
    unresolved = {mistake.path for mistake in mistakes}
    found = check(completed, sources=sources, looking=looking, registry=known, folder=folder)
    mistakes += [mistake for mistake in found if mistake.path not in unresolved]
    if mistakes:
        raise RecipeError(in_order(mistakes))
    inside = os.path.relpath(folder, root)
    recipe = build_recipe(completed, folder="" if inside == "." else inside, registry=known)
    note_versions(looking, completed, known)
    facts = looking.facts
    return Composed(
        recipe=recipe,
        completed=completed,
        canonical=spell_out(recipe, completed),
        folder=recipe.folder,
        facts=facts,
        signatures=looking.signatures,
        sources=tuple(
            name for kind, name, _ in facts if kind == "file" and name.endswith((".yaml", ".yml"))
        ),
        ignored=ignored,
        may_be_remembered=not looking.changed,
    )


def read_recipe(path: str, shown_as: str, looking: Looking) -> Document:
    """Read the recipe file. Raises `RecipeError`, or `UsageError` when there is none."""
    try:
        content = looking.read(path)
    except IsADirectoryError as error:
        names = [name for name in looking.names(path) if name.endswith((".yaml", ".yml"))]
        hint = f"it has {', '.join(names[:8])}" if names else "name a .yaml file"
        what = f"{shown_as} is a folder, not a recipe" if shown_as else "a recipe's name is empty"
        raise UsageError(what, hint=hint) from error
    except OSError as error:
        raise UsageError(f"the recipe {shown_as} cannot be read: {error.strerror}") from error
    if content is None:
        names = [
            name
            for name in looking.names(os.path.dirname(path))
            if name.endswith((".yaml", ".yml"))
        ]
        hint = did_you_mean(os.path.basename(path), names)
        if not path.endswith((".yaml", ".yml")):
            hint = "a recipe is a file that ends in .yaml, an override is key=value"
        raise UsageError(f"there is no recipe {shown_as}", hint=hint)
    return read(content, shown_as)


def search_path(folder: str, root: str) -> tuple[str, ...]:
    """Give the folders in which configs are looked for, first to last."""
    packaged = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_configs")
    return tuple(dict.fromkeys([folder, os.path.join(root, "configs"), packaged]))


def lay_parts(parts: Sequence[Part]) -> tuple[dict[str, Any], Sources]:
    """Lay the configs over one another, short forms written out."""
    data: dict[str, Any] = {}
    sources = Sources()
    for part in parts:
        data = lay(data, write_out(nest(part.prefix, part.data)))
        if not part.name:
            sources.recipe = len(sources.layers)
        sources.layers.append(
            FileLayer(document=part.document, prefix=part.prefix, origin=_origin(part.name))
        )
    return data, sources


def _origin(name: str) -> str:
    group, _, choice = name.rpartition("/")
    if not name or name == PRIMARY:
        return ""
    return f"the environment {choice}" if group == ENV else f"the config {name}"


def note_versions(looking: Looking, completed: Mapping[str, Any], known: Registry) -> None:
    """Note the versions of what composed the recipe, and the files of stages from other packages."""
    for name in PACKAGES:
        looking.note("package", name, installed().get(name, ""))
    for start in PREFIXES:
        looking.note("prefix", start, prefixed(start))
    classes: list[type | None] = [
        *(stage_class(stage, known) for stage in completed.get("stages", {}).values()),
        *(rule_class(rule, known) for rule in completed.get("replace", {}).values()),
    ]
    for cls in classes:
        if cls is not None and not cls.__module__.startswith("onnxbuild."):
            looking.read(inspect.getfile(cls))
