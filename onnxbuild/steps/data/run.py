"""Collect the items of a data entry, one at a time, into an artifact."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np

from onnxbuild import entries
from onnxbuild.arrays import BFLOAT16, KINDS, Array, ArraysWriter, to_array
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import DataError
from onnxbuild.steps.data.files import read_path
from onnxbuild.steps.data.spec import DataOptions
from onnxbuild.steps.model.user import user_code

MOST_BYTES = 64 << 30
"""Bytes after which an entry that does not end is given up."""
MOST_SHAPES = 4
"""Shapes of one key that are told."""


def collect(work: Work) -> dict[str, Artifact]:
    """Give the ``items`` of an entry. Raises `DataError` for what is no sequence of dicts of arrays."""
    options = build(DataOptions, work.options)
    source = options.entry or options.path or "data"
    told: dict[str, dict[str, Any]] = {}
    path = os.path.join(work.folder, "items.npz")
    # What the user's generator holds open ends with it, not when memory is tidied up.
    with ArraysWriter(path) as writer, closing(_items(options, source)) as items:
        for item in islice(items, options.samples):
            arrays = _check(item, writer.count, source, told)
            writer.add(arrays)
            if writer.size > MOST_BYTES:
                raise DataError(
                    f"{source} gave {writer.count} items of {writer.size / 1e9:.0f} GB and does not end",
                    hint="bound it with `samples:`",
                )
        count = writer.count
    if not count:
        raise DataError(
            f"{source} gave no item", hint="look at where it reads from: is the folder empty?"
        )
    work.notes["items"] = count
    work.notes["arrays"] = told
    sys.stdout.write(f"{count} items: {told}\n")
    return {"items": work.put_file(path, "arrays")}


def _items(options: DataOptions, source: str) -> Generator[object, None, None]:
    if options.entry is None:
        if options.path is None:
            raise DataError("a data entry needs `entry` or `path`")
        yield from read_path(options.path)
        return
    given = entries.load(options.entry)
    with user_code(f"{source} failed", kind=DataError):
        if callable(given):
            given = given(**options.kwargs)
    if isinstance(given, Mapping):
        raise DataError(
            f"{source} returned one dict, and not a sequence of dicts",
            hint="yield it, or put it in a list; each dict is an item",
        )
    if not isinstance(given, Iterable) and not hasattr(given, "__getitem__"):
        raise DataError(
            f"{source} returned {_name(given)}, which cannot be iterated",
            hint="yield dicts of arrays, or return a list or a DataLoader of them",
        )
    with user_code(f"{source} failed", kind=DataError):
        yield from given


def _check(
    item: object, index: int, source: str, told: dict[str, dict[str, Any]]
) -> dict[str, Array]:
    """Give an item's arrays and add to what is `told` of each key."""
    where = f"item {index} of {source}"
    if not isinstance(item, Mapping):
        raise DataError(
            f"{where} is {_name(item)}, and not a dict",
            hint='yield {"<input>": array, "label": …}: the model\'s inputs by name, and any labels',
        )
    if not item:
        raise DataError(f"{where} is an empty dict")
    for name in item:
        if not isinstance(name, str):
            raise DataError(f"{where} has the key {name!r}, which is not text")
    if told and set(item) != set(told):
        missing = ", ".join(name for name in told if name not in item)
        added = ", ".join(name for name in item if name not in told)
        raise DataError(
            f"{where} has other keys than the first: "
            + "; ".join(filter(None, (missing and f"no {missing}", added and f"also {added}"))),
            hint="every item needs the same keys",
        )
    names = list(told) or list(item)
    arrays = {name: _to_array(item[name], name, where) for name in names}
    for name, array in arrays.items():
        known = told.setdefault(name, {"dtype": str(array.dtype), "shapes": []})
        shape = list(array.shape)
        if shape not in known["shapes"] and len(known["shapes"]) < MOST_SHAPES:
            known["shapes"].append(shape)
    return arrays


def _to_array(value: object, name: str, where: str) -> Array:
    try:
        array = to_array(value)
    except ValueError as error:
        raise DataError(
            f"{name!r} in {where} is no array: {error}", hint="rows must have one length"
        ) from error
    if array.dtype != BFLOAT16 and array.dtype.kind not in KINDS:
        raise DataError(
            f"{name!r} in {where} is {_name(value)}, which is no array of numbers or text",
            hint="convert it with numpy.asarray, and leave out what the model and the metric do not need",
        )
    if (array.dtype.kind in "fc" or array.dtype == BFLOAT16) and np.isnan(array).any():
        raise DataError(
            f"{name!r} in {where} has {int(np.isnan(array).sum())} NaN among its {array.size} values",
            hint="drop or fill what is missing before it is yielded",
        )
    return array


def _name(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"
