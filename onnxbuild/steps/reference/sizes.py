"""Which sizes a model takes, found out where it fails at one that the recipe allows.

`dims` without bounds go from 1 to 2n + 1. Many models take fewer: multiples of a patch, up to the positions
that they have. Who reads that it fails at 17 wants to know of what the sizes must be multiples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxbuild.errors import ModelError

Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

WIDEST = 64
"""The largest step that is looked for: sizes of patches and windows."""

SECONDS = 20.0
"""For how long is looked: a large model is called a few times only."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """A dimension that was of another size when the model worked."""

    name: str
    worked: int
    failed: int
    places: tuple[tuple[str, int], ...]
    """Inputs and axes."""


def explain_sizes(
    error: ModelError,
    call: Callable[[Arrays], object],
    worked: Arrays,
    failed: Arrays,
    names: Mapping[str, tuple[int | str, ...]],
) -> ModelError:
    """Add to the error of a call which sizes the model takes; `names` are the shapes of its inputs."""
    words = [size for shape in names.values() for size in shape if isinstance(size, str)]
    if not all(word.isidentifier() for word in words):
        # Sizes that follow from others cannot be tried one by one.
        return error
    until = time.monotonic() + SECONDS
    for axis in _differing(worked, failed, names):

        def works(size: int, axis: _Axis = axis) -> bool:
            if time.monotonic() > until:
                raise TimeoutError
            try:
                call(_resize(worked, axis, size))
            except ModelError:
                return False
            return True

        try:
            found = None if works(axis.failed) else _describe(axis, works)
        except TimeoutError:
            return error
        if found:
            what, hint = found
            return ModelError(f"{error.what}\n  {what}", where=error.where or "dims", hint=hint)
    return error


def _differing(
    worked: Arrays, failed: Arrays, names: Mapping[str, tuple[int | str, ...]]
) -> list[_Axis]:
    groups: dict[tuple[str, int, int], list[tuple[str, int]]] = {}
    for name, array in worked.items():
        other = failed[name].shape
        for axis, size in enumerate(array.shape):
            if len(other) != array.ndim or size == other[axis]:
                continue
            said = names.get(name, ())
            dim = said[axis] if axis < len(said) else ""
            key = dim if isinstance(dim, str) else ""
            groups.setdefault((key, size, other[axis]), []).append((name, axis))
    return [
        _Axis(key or f"axis {places[0][1]} of {places[0][0]!r}", size, other, tuple(places))
        for (key, size, other), places in groups.items()
    ]


def _describe(axis: _Axis, works: Callable[[int], bool]) -> tuple[str, str] | None:
    """Say which sizes of a dimension the model takes, and how the recipe says that; None where that is not clear."""
    size, name = axis.worked, axis.name
    key = name if name.isidentifier() else "NAME"
    near = range(1, min(WIDEST, max(size, axis.failed) + 1) + 1)
    step = next((step for step in near if works(size + step)), None)
    if step is None:
        return (
            f"of the sizes from {size} to {size + near[-1]} it takes {size} alone as {name}",
            f"if it takes no other, write {size} in its place: it is no dynamic dimension",
        )
    if step > 1:
        if size % step or not works(size + 2 * step):
            return None
        return (
            f"it takes {size}, {size + step} and {size + 2 * step} as {name}, and nothing between",
            f"say `dims: {{{key}: {{multiple_of: {step}}}}}`",
        )
    good, bad = size, axis.failed
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if works(middle) else (good, middle)
    bound = "max" if axis.failed > size else "min"
    return (
        f"it takes {name} {'up to' if bound == 'max' else 'from'} {good}",
        f"say `dims: {{{key}: {{{bound}: {good}}}}}`",
    )


def _resize(arrays: Arrays, axis: _Axis, size: int) -> dict[str, np.ndarray[Any, Any]]:
    """Give arrays another size along a dimension, by repeating their own values."""
    resized = dict(arrays)
    for name, number in axis.places:
        rows = np.arange(size) % arrays[name].shape[number]
        resized[name] = np.take(arrays[name], rows, number)
    return resized
