"""Several recipes, and several points of a sweep, composed for one plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from onnxbuild.compose.remembered import Composition, compose, expand
from onnxbuild.core.digest import PREFIX, digest_value
from onnxbuild.errors import UsageError

LONGEST = 120
"""Characters of a folder's name; longer ones are cut and told apart by a digest."""

UNSAFE = re.compile(r"[^A-Za-z0-9._=,+-]+")
"""What does not belong into a folder's name."""


def compose_all(
    paths: Sequence[str], overrides: Sequence[str], *, multirun: bool = False
) -> tuple[Composition, ...]:
    """Compose recipes; with `multirun` at each point of the sweep that the overrides give.

    The recipe of a point is named after it, as in ``digits/export.opset=18``: so its models have a folder
    of their own below the recipe's. Raises `RecipeError`, or `UsageError` for recipes that have no plan in common.
    """
    if multirun:
        found = _compose_points(paths, overrides)
    else:
        found = [compose(path, overrides) for path in paths]
    _refuse_mixtures(found)
    return tuple(found)


def _compose_points(paths: Sequence[str], overrides: Sequence[str]) -> list[Composition]:
    points = expand(overrides)
    names = name_points(overrides, points)
    found = []
    for path in paths:
        for point, name in zip(points, names, strict=True):
            made = compose(path, point)
            if name:
                recipe = replace(made.recipe, name=f"{made.recipe.name}/{name}")
                made = replace(made, recipe=recipe)
            found.append(made)
    return found


def _refuse_mixtures(compositions: Sequence[Composition]) -> None:
    """One plan has one project, one store, and one recipe of each name."""
    first = compositions[0]
    names: dict[str, int] = {}
    for index, item in enumerate(compositions):
        if item.root != first.root:
            raise UsageError(
                f"the recipes lie in different projects: {first.root} and {item.root}",
                hint="run each project's recipes in a call of their own",
            )
        if item.recipe.settings != first.recipe.settings:
            raise UsageError(
                "the recipes have different settings",
                hint="put settings into configs/ or on the command line, or run the recipes one by one",
            )
        if item.recipe.name in names:
            raise UsageError(
                f"two recipes are named {item.recipe.name!r}",
                hint="their models would go to the same folder: give one another `name:`",
            )
        names[item.recipe.name] = index


def name_points(overrides: Sequence[str], points: Sequence[Sequence[str]]) -> list[str]:
    """Name points by what is swept: ``export.opset=18,env=ci``. Each name can be a folder's, and is given once."""
    written = [
        ",".join(chosen for chosen, given in zip(point, overrides, strict=True) if chosen != given)
        for point in points
    ]
    safe = [UNSAFE.sub("_", name) for name in written]
    return [
        name
        if safe.count(name) == 1 and len(name) <= LONGEST
        else f"{name[: LONGEST - 9]}-{digest_value(text).removeprefix(PREFIX)[:8]}"
        for text, name in zip(written, safe, strict=True)
    ]
