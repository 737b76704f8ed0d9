"""Compose a recipe, or take what is remembered of it. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from onnxbuild import registry
from onnxbuild.core import answers
from onnxbuild.core.facts import signature
from onnxbuild.core.trace import Fact
from onnxbuild.errors import OnnxbuildError, RecipeError, UsageError
from onnxbuild.project import find_root, is_lock, store_folder
from onnxbuild.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A recipe with its environment and overrides, checked, and what that was seen to depend on."""

    recipe: Recipe
    """The whole recipe."""

    facts: tuple[Fact, ...]
    """What composing it observed: files present and absent, listings, variables, versions."""

    root: str
    """The project root, absolute."""

    canonical: Mapping[str, Any]
    """The recipe as one plain mapping, with every short form written out and every default in it."""

    sources: tuple[str, ...]
    """The files that it was composed of, relative to the root where they are below it."""

    signatures: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    """By absolute path, the signatures that vouch for the digests of the files read."""


def compose(recipe_path: str, overrides: Sequence[str] = ()) -> Composition:
    """Compose and check a recipe. Runs no user code. Raises `RecipeError` with all mistakes."""
    if is_lock(recipe_path):
        raise UsageError(
            f"{recipe_path} is a lock file, not a recipe",
            hint="name the recipe beside it; a pattern of the shell must leave locks out",
        )
    path = os.path.abspath(recipe_path)
    folder = os.path.realpath(os.path.dirname(path))
    root = find_root(folder)
    path = os.path.join(folder, os.path.basename(path))
    kept = os.path.join(store_folder(root), "answers")
    key = "\0".join(["compose", sys.version, code_stamp(), path[len(root) :], *overrides])
    found = answers.recall_whole(kept, key, root)
    if found is not None:
        return _from_text(found[2], tuple(found[0]), found[1], root)
    from onnxbuild.compose.composing import compose_anew

    composed = compose_anew(path, tuple(overrides), root=root, shown_as=recipe_path)
    if composed.may_be_remembered:
        text = json.dumps(
            {
                "recipe": composed.completed,
                "canonical": composed.canonical,
                "folder": composed.folder,
                "sources": composed.sources,
            }
        )
        # A project that cannot be written to is composed anew each time; nothing else is lost.
        with suppress(OSError):
            answers.remember(
                kept, key, composed.facts, composed.signatures, root, {}, composed.ignored, text
            )
    return Composition(
        recipe=composed.recipe,
        facts=composed.facts,
        root=root,
        canonical=composed.canonical,
        sources=composed.sources,
        signatures=composed.signatures,
    )


def validate(
    paths: str | Sequence[str], overrides: Sequence[str] = (), *, multirun: bool = False
) -> list[OnnxbuildError]:
    """Give all mistakes in recipes, none where they are right. Runs no user code."""
    mistakes: list[OnnxbuildError] = []
    try:
        points = expand(overrides) if multirun else [list(overrides)]
    except RecipeError as error:
        return error.mistakes
    chosen = [paths] if isinstance(paths, str) else paths
    for path, point in ((path, point) for path in chosen for point in points):
        try:
            compose(path, point)
        except RecipeError as error:
            mistakes += error.mistakes
        except UsageError as error:
            mistakes.append(error)
    return mistakes


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Write out a sweep: ``export.opset=18,20`` becomes two lists of overrides. Raises `RecipeError`."""
    from onnxbuild.compose.overrides import expand_sweeps

    return expand_sweeps(overrides)


def code_stamp() -> str:
    """Give what changes with onnxbuild's own code: sizes, times and inodes of its files."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    lines = []
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                lines.append(f"{path[len(package) :]} {signature(os.stat(path))}")
    return "\n".join(lines)


def _from_text(
    text: str,
    facts: tuple[Fact, ...],
    signatures: Mapping[str, tuple[int, int, int, int]],
    root: str,
) -> Composition:
    from onnxbuild.recipe.building import build_recipe

    said = json.loads(text)
    return Composition(
        recipe=build_recipe(said["recipe"], folder=said["folder"], registry=registry),
        facts=facts,
        root=root,
        canonical=said["canonical"],
        sources=tuple(said["sources"]),
        signatures=signatures,
    )
