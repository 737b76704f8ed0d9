"""Which sizes a model takes, found out where it fails at one that the recipe allows.

`dims` without bounds go from 1 to 2n + 1. Many models take fewer: multiples of a patch, up to the positions
that they have. Who reads that it fails at 17 wants to know of what the sizes must be multiples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from onnxbuild.errors import ModelError

Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

WIDEST = 64
"""The largest step that is looked for: sizes of patches and windows."""

COMMON = (8, 16, 32, 64, 128, 224, 256, 384, 512, *range(2, 64))
"""Sizes that are tried where a model fails at the first: those of images and sequences, then any small one."""

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
    if not _are_free(names):
        return error
    calls = _Calls(call)
    try:
        for axis in _differing(worked, failed, names):
            works = calls.along(worked, axis)
            if not works(axis.failed):
                return _tell(error, _describe(axis, works))
    except TimeoutError:
        pass
    return error


def explain_first(
    error: ModelError,
    call: Callable[[Arrays], object],
    failed: Arrays,
    names: Mapping[str, tuple[int | str, ...]],
) -> ModelError:
    """Add to the error of the first call, at sizes that nobody chose, with which other sizes it goes well."""
    if not _are_free(names):
        return error
    calls = _Calls(call)
    try:
        for axis in _axes(failed, names):
            works = calls.along(failed, axis)
            size = next((size for size in COMMON if size != axis.failed and works(size)), None)
            if size is not None:
                return _tell(error, _describe(replace(axis, worked=size), works))
    except TimeoutError:
        pass
    return error


class _Calls:
    """Calls a model at sizes, for a time. Raises `TimeoutError` afterwards."""

    def __init__(self, call: Callable[[Arrays], object]) -> None:
        self._call = call
        self._until = time.monotonic() + SECONDS

    def along(self, arrays: Arrays, axis: _Axis) -> Callable[[int], bool]:
        """Give what tells whether the model takes `arrays` with another size along a dimension."""

        def works(size: int) -> bool:
            if time.monotonic() > self._until:
                raise TimeoutError
            try:
                self._call(_resize(arrays, axis, size))
            except ModelError:
                return False
            return True

        return works


def _tell(error: ModelError, found: tuple[str, str] | None) -> ModelError:
    if found is None:
        return error
    what, hint = found
    return ModelError(f"{error.what}\n  {what}", where=error.where or "dims", hint=hint)


def _are_free(names: Mapping[str, tuple[int | str, ...]]) -> bool:
    """Tell whether each dimension is one of its own: sizes that follow from others cannot be tried one by one."""
    return all(
        size.isidentifier() for shape in names.values() for size in shape if isinstance(size, str)
    )


def _axes(failed: Arrays, names: Mapping[str, tuple[int | str, ...]]) -> list[_Axis]:
    """Give the dimensions at the sizes at which a call failed; without a name, axes of one size are one."""
    places: dict[int | str, list[tuple[str, int]]] = {}
    for name, array in failed.items():
        said = names.get(name, ())
        for axis, size in enumerate(array.shape):
            dim = said[axis] if axis < len(said) else size
            places.setdefault(dim if isinstance(dim, str) else size, []).append((name, axis))
    return [
        _Axis(
            dim if isinstance(dim, str) else f"axis {found[0][1]} of {found[0][0]!r}",
            0,
            failed[found[0][0]].shape[found[0][1]],
            tuple(found),
        )
        for dim, found in places.items()
    ]


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
