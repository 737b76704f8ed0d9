"""What the float32 model computes at the recipe's samples: ranges, and which whole numbers half would round."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from onnxbuild.arrays import Array, read_item
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import ModelError
from onnxbuild.graph import ranges as looking
from onnxbuild.graph.ranges import Range
from onnxbuild.stages.float16.conversion import Conversion
from onnxbuild.stages.float16.spec import Float16

Observed: TypeAlias = tuple[dict[str, Range], set[str]]
"""Ranges by name of value, and the values that hold whole numbers which half precision rounds."""

WHOLE_FROM = 256
"""Values up to this are whole numbers in any half precision."""

FIELDS = ("low", "high", "least", "most", "smallest", "rows")


def observe(work: Work) -> dict[str, Artifact]:
    """Give what was observed as plain values, for the steps that share it."""
    ranges, rounded = look(work, Conversion(work, build(Float16, work.options)))
    plain = {
        name: [_plain(getattr(known, field)) for field in FIELDS] for name, known in ranges.items()
    }
    return {"ranges": work.put_json({"ranges": plain, "rounded": sorted(rounded)})}


def read_ranges(given: Mapping[str, Any]) -> Observed:
    """Read what `observe` gave."""
    ranges = {
        name: Range(*(float(number) for number in numbers))
        for name, numbers in given["ranges"].items()
    }
    return ranges, set(given["rounded"])


def look(work: Work, conversion: Conversion) -> Observed:
    """Run the float32 model at the example and at the largest sample, or read who did."""
    if "ranges" in work.inputs():
        return read_ranges(work.json("ranges"))
    if "samples" not in work.inputs():
        return {}, set()
    path = work.input("model")
    try:
        found = looking.observe(
            path,
            conversion.observable,
            conversion.small,
            _items(work),
            rows=conversion.scores,
        )
        large = [name for name, known in found.items() if known.size > WHOLE_FROM]
        if not large:
            return found, set()
        return found, looking.find_rounded(path, large, conversion.half.value, _items(work))
    except ModelError as error:
        # The constants are judged all the same; `verify` looks at the numbers.
        work.notes["unobserved"] = error.what
        return {}, set()


def _items(work: Work) -> Iterator[Mapping[str, Array]]:
    """Give the inputs of the example and of the largest sample."""
    path = work.input("samples")
    sizes = []
    chosen = set()
    for index, shape in enumerate(work.json("shapes")):
        sizes.append((sum(array.size for array in read_item(path, index).values()), index))
        if shape["name"] == "example":
            chosen.add(index)
    if sizes:
        chosen.add(max(sizes)[1])
    for index in sorted(chosen):
        yield read_item(path, index)


def _plain(number: float) -> float | str:
    """Write what JSON has no number for as text."""
    return number if math.isfinite(number) else str(number)
