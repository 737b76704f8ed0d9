"""A recipe as it is for the variants whose dynamic dimensions a stage has fixed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnxbuild.recipe import dimensions
from onnxbuild.recipe.schema import Dim, Input, Recipe


def fixed_dims(recipe: Recipe, variant: str) -> dict[str, int]:
    """Give the dimensions that the stages up to a variant have fixed, with their sizes."""
    fixed: dict[str, int] = {}
    name = variant
    while name != "export":
        use = recipe.stages[name]
        fixed = {**use.stage.fixes(), **fixed}
        name = use.from_
    return fixed


def fix(recipe: Recipe, sizes: Mapping[str, int]) -> Recipe:
    """Give the recipe with dimensions that have one size, at which its samples are made."""
    if not sizes:
        return recipe
    dims = {name: Dim(min=size, max=size, example=size) for name, size in sizes.items()}
    inputs = {name: _fix(name, item, recipe, sizes) for name, item in recipe.inputs.items()}
    return replace(recipe, dims={**recipe.dims, **dims}, inputs=inputs)


def _fix(name: str, item: Input, recipe: Recipe, sizes: Mapping[str, int]) -> Input:
    shape = list(item.shape)
    for axis, dim in recipe.dynamic_axes.get(name, {}).items():
        if not -len(shape) <= int(axis) < len(shape) or not isinstance(shape[int(axis)], int):
            continue
        if dim in sizes:
            shape[int(axis)] = sizes[dim]
        elif not sizes.keys().isdisjoint(dimensions.names([dim])):
            # What follows from a dimension that is fixed has another size with it.
            shape[int(axis)] = dim
    return replace(item, shape=tuple(shape))
