"""Measure the recipe's metric over a data entry, on a model's outputs or on PyTorch's."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from onnxbuild import entries
from onnxbuild.arrays import Array, count_items, read_items, to_array
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import DataError
from onnxbuild.steps.evaluate.spec import EvaluateOptions
from onnxbuild.steps.model.user import user_code
from onnxbuild.steps.running import open_served

Item: TypeAlias = Mapping[str, Array]

ONE = "metric"
"""The name of a metric that is a single number."""


def evaluate(work: Work) -> dict[str, Artifact]:
    """Give the ``metric`` of ``model`` over ``items``, which are fed as they are."""
    options = build(EvaluateOptions, work.options)
    runner = open_served(work, options.threads)

    def outputs() -> Iterator[Item]:
        for index, item in enumerate(read_items(work.input("items"))):
            yield runner.run(item, f"item {index}")

    return _measure(work, options.metric, outputs())


def score(work: Work) -> dict[str, Artifact]:
    """Give the ``metric`` of ``predictions``, PyTorch's outputs for ``items``."""
    options = build(EvaluateOptions, work.options)
    return _measure(work, options.metric, read_items(work.input("predictions")))


def _measure(work: Work, entry: str, outputs: Iterator[Item]) -> dict[str, Artifact]:
    taken = 0
    trouble: list[BaseException] = []

    def pairs() -> Iterator[tuple[Item, Item]]:
        nonlocal taken
        items = read_items(work.input("items"))
        while True:
            try:
                batch = next(items, None)
                output = next(outputs, None)
            except Exception as error:
                # Ours, not the metric's, which it passes through.
                trouble.append(error)
                raise
            if batch is None or output is None:
                return
            taken += 1
            yield output, batch

    metric = entries.load(entry)
    if not callable(metric):
        raise DataError(f"{entry} is a {type(metric).__name__}, and no function", where="verify")
    try:
        with user_code(f"the metric {entry} failed", kind=DataError):
            values = _to_numbers(metric(pairs()), entry)
    except DataError:
        if trouble:
            raise trouble[0] from None
        raise
    count = count_items(work.input("items"))
    if taken == 0:
        raise DataError(
            f"the metric {entry} did not look at any of the {count} items",
            hint="it is called with an iterator of (outputs, batch): loop over it",
        )
    work.notes["items"] = taken
    if taken < count:
        work.notes["unseen"] = count - taken
        sys.stdout.write(f"the metric stopped after {taken} of {count} items\n")
    return {"metric": work.put_json(values)}


def _to_numbers(value: object, entry: str) -> dict[str, float]:
    """Give a metric's values by name. Raises `DataError` for what is no finite number."""
    given: Mapping[Any, object] = value if isinstance(value, Mapping) else {ONE: value}
    if not given:
        raise DataError(f"the metric {entry} returned an empty dict")
    numbers = {}
    for name, item in given.items():
        array = None if item is None else to_array(item)
        if array is None or array.size != 1 or array.dtype.kind not in "biuf":
            raise DataError(
                f"the metric {entry} returned {item!r:.80} for {name!r}, which is no number",
                hint="return a float, or a dict of floats by name",
            )
        number = float(array.reshape(()))
        if not math.isfinite(number):
            raise DataError(
                f"the metric {entry} returned {number} for {name!r}",
                hint="a division by zero? look at what it sums over",
            )
        numbers[str(name)] = number
    return numbers
