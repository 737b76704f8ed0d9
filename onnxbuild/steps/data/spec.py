"""The ``data`` step: what an entry of ``data:`` yields, kept once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxbuild.core.step import Output, Step
from onnxbuild.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Where the items come from, and how many are taken."""

    entry: str | None = None
    """A callable that yields dicts of arrays."""

    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Its keyword arguments."""

    path: str | None = None
    """Or an ``.npz`` file, or a folder of ``.npz`` or ``.npy`` files."""

    samples: int | None = None
    """Items that are taken at most."""


def collect(recipe: Recipe, name: str) -> Output:
    """Make the step that keeps the items of a data entry, and give its ``items``."""
    entry = recipe.data[name]
    step = Step(
        run="onnxbuild.steps.data.run:collect",
        label=f"data {name}",
        options=DataOptions(
            entry=entry.entry, kwargs=entry.kwargs, path=entry.path, samples=entry.samples
        ),
        outputs=("items",),
        libraries=("numpy",),
        folder=recipe.folder,
        variables=recipe.pass_env if entry.entry is not None else (),
    )
    return Output(step, "items")
