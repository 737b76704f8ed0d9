"""Sizes that a recipe declares and its calibration data lack.

A sum or a maximum over more elements is larger, a mean over fewer varies more: a range that was never seen at a size
cuts off what the model computes there. So items of the data are repeated, or cut, to such sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Item = Mapping[str, npt.NDArray[Any]]
Shapes = Mapping[str, tuple[int, ...]]

KEPT = 4
"""Items that are given each size that lacks."""


class Seen:
    """Passes items on, and notes their sizes."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self.kept: list[Item] = []
        """The first few."""
        self._least: dict[str, list[int]] = {}
        self._most: dict[str, list[int]] = {}

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            if len(self.kept) < KEPT:
                self.kept.append(item)
            for name, array in item.items():
                least = self._least.setdefault(name, list(array.shape))
                most = self._most.setdefault(name, list(array.shape))
                self._least[name] = [min(pair) for pair in zip(least, array.shape, strict=True)]
                self._most[name] = [max(pair) for pair in zip(most, array.shape, strict=True)]
            yield item

    def lacks(self, shapes: Shapes, *, batched: bool) -> bool:
        """Tell whether some size is smaller or larger than all that were seen; that of a batch does not count."""
        return any(
            not least <= size <= most
            for name, shape in shapes.items()
            for least, size, most in [
                *zip(self._least[name], shape, self._most[name], strict=True)
            ][1 if batched else 0 :]
        )


def lacking(seen: Seen, samples: Sequence[Shapes]) -> list[int]:
    """Give the places of those `samples`, by their shapes, which have sizes that the data lack; each size once."""
    batched = is_batched(samples)
    found: dict[tuple[tuple[int, ...], ...], int] = {}
    for index, shapes in enumerate(samples):
        if seen.lacks(shapes, batched=batched):
            sizes = tuple(shape[1 if batched else 0 :] for shape in shapes.values())
            found.setdefault(sizes, index)
    return list(found.values())


def is_batched(samples: Sequence[Shapes]) -> bool:
    """Tell whether the first axis of all inputs is the batch, whose rows do not see one another."""
    return all(
        all(shapes.values()) and len({shape[0] for shape in shapes.values()}) == 1
        for shapes in samples
    )


def resize(item: Item, shapes: Shapes, *, batched: bool) -> dict[str, npt.NDArray[Any]]:
    """Repeat or cut the arrays of an item to other sizes; a batch stays what it is."""
    made = {}
    for name, array in item.items():
        sized = array
        for axis, size in enumerate(shapes[name]):
            if size != sized.shape[axis] and sized.shape[axis] and not (batched and axis == 0):
                sized = np.take(sized, np.arange(size) % sized.shape[axis], axis)
        made[name] = sized
    return made
