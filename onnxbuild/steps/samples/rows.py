"""The values of inputs that come from a data entry: its rows, put together to the wanted shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxbuild.arrays import Array, read_items
from onnxbuild.errors import DataError

MOST_ITEMS = 64
"""Items of a data entry that are looked at."""
MOST_BYTES = 1 << 28
"""Bytes of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The shape that one input shall have."""

    shape: tuple[int, ...]
    dynamic: frozenset[int]
    """Axes along which rows may be cut or repeated."""


class Rows:
    """The first items of a data entry, for the inputs that take their values from it."""

    def __init__(self, entry: str, path: str, inputs: tuple[str, ...]) -> None:
        self._entry = entry
        self._items: list[dict[str, Array]] = []
        self._used = 0
        size = 0
        for item in read_items(path):
            self._check_names(item, inputs)
            self._items.append({name: item[name] for name in inputs})
            size += sum(item[name].nbytes for name in inputs)
            if len(self._items) == MOST_ITEMS or size > MOST_BYTES:
                break

    def take(self, wanted: Mapping[str, Wanted]) -> dict[str, Array]:
        """Give the next values for some inputs, all from the same items.

        An item whose arrays have the wanted shapes is used as it is. Otherwise rows are stacked, from the
        beginning again when there are too few; rows of the right size first, else cut or repeated along
        dynamic axes. Raises `DataError` where a row cannot fit.
        """
        whole = [item for item in self._items if self._fits(item, wanted)]
        if whole:
            item = whole[self._used % len(whole)]
            self._used += 1
            return dict(item)
        rows = [row for item in self._items for row in self._rows_of(item, wanted)]
        if not rows:
            raise DataError("its items have no rows", where=f"data.{self._entry}")
        inner = {name: item.shape[1:] for name, item in wanted.items()}
        exact = [row for row in rows if all(row[name].shape == inner[name] for name in inner)]
        chosen = exact or rows
        count = max(item.shape[0] for item in wanted.values())
        start, self._used = self._used, self._used + count
        return {
            name: self._stack(
                [chosen[(start + index) % len(chosen)][name] for index in range(item.shape[0])],
                name,
                item,
            )
            for name, item in wanted.items()
        }

    def _check_names(self, item: Mapping[str, Array], inputs: tuple[str, ...]) -> None:
        for name in inputs:
            if name not in item:
                raise DataError(
                    f"its items have no {name!r}, whose values are to come from there",
                    where=f"data.{self._entry}",
                    hint=f"they have: {', '.join(item)}",
                )

    @staticmethod
    def _fits(item: Mapping[str, Array], wanted: Mapping[str, Wanted]) -> bool:
        return all(item[name].shape == want.shape for name, want in wanted.items())

    def _rows_of(
        self, item: Mapping[str, Array], wanted: Mapping[str, Wanted]
    ) -> list[dict[str, Array]]:
        arrays = {}
        for name, want in wanted.items():
            array = item[name]
            rank = len(want.shape)
            if array.ndim not in {rank, rank - 1} or rank == 0:
                raise self._misfit(name, array.shape, want.shape, "another number of axes")
            arrays[name] = array if array.ndim == rank else array[np.newaxis]
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise DataError(
                f"an item has different numbers of rows: {told}",
                where=f"data.{self._entry}",
                hint="the first axis counts rows, and they belong together",
            )
        return [
            {name: array[index] for name, array in arrays.items()}
            for index in range(min(counts.values()))
        ]

    def _stack(self, rows: list[Array], name: str, want: Wanted) -> Array:
        inner = want.shape[1:]
        fitted = []
        for whole_row in rows:
            row = whole_row
            for axis, size in enumerate(inner):
                if row.shape[axis] == size:
                    continue
                if axis + 1 not in want.dynamic or row.shape[axis] == 0:
                    raise self._misfit(name, row.shape, inner, f"axis {axis + 1} is not dynamic")
                row = np.take(row, np.arange(size), axis=axis, mode="wrap")
            fitted.append(row)
        if not fitted:
            return np.zeros((0, *inner), self._items[0][name].dtype)
        return np.stack(fitted)

    def _misfit(
        self, name: str, found: tuple[int, ...], wanted: tuple[int, ...], why: str
    ) -> DataError:
        return DataError(
            f"{name!r} has the shape {list(found)} there, which does not make {list(wanted)}: {why}",
            where=f"data.{self._entry}",
            hint="make the data entry yield what the model takes (resize, pad, add an axis), or declare "
            "the axis in `dynamic_axes`",
        )
