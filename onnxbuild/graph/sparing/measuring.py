"""How far one model is from another on the same inputs, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxbuild.arrays import Array, read_items
from onnxbuild.core.ports import Work
from onnxbuild.graph.feeds import Feeder
from onnxbuild.graph.sparing.spec import Target

MOST_ITEMS = 16
"""Items of calibration data that are looked at beside the samples."""

FEW = 4
"""Items of the data that do for a ranking."""

QUICK = 16
"""How many times the smallest item one may be to count as quick."""

RUNS = 5
"""Timed runs, of which the middle one counts."""

WORST = 1e9
"""The loss of an output that is not finite."""

Named = tuple[str, Mapping[str, Array]]


def named_items(work: Work) -> list[Named]:
    """Give the samples with the names of their shapes, and items of the data, all called ``data``."""
    inputs = work.inputs()
    items: list[Named] = []
    if "samples" in inputs:
        shapes = work.json("shapes")
        items += [
            (str(shape["name"]), item)
            for shape, item in zip(shapes, read_items(work.input("samples")), strict=True)
            if shape["name"] != "trace"
        ]
    if "data" in inputs:
        items += [("data", item) for item in islice(read_items(work.input("data")), MOST_ITEMS)]
    return items


def quick(items: list[Named]) -> list[Named]:
    """Give the items that take little time: no larger than a few times the smallest, and few of the data.

    Which node loses most shows on those; whether a target is met is measured on all.
    """
    sizes = [sum(array.size for array in item.values()) for _, item in items]
    most = QUICK * min(sizes, default=0)
    small = [named for named, size in zip(items, sizes, strict=True) if size <= most]
    data = [named for named in small if named[0] == "data"][:FEW]
    return [named for named in small if named[0] != "data"] + data


@dataclass(slots=True)
class Distance:
    """Sums over the items of one name, for one output."""

    dot: float = 0.0
    ours: float = 0.0
    theirs: float = 0.0
    error: float = 0.0
    largest: float = 0.0
    broken: bool = False

    def add(self, one: Array, reference: Array) -> None:
        """Count an output in. What is no float is not compared: what is computed from floats stands for it."""
        left, right = one.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
        if left.shape != right.shape:
            self.broken = True
            return
        # A mask's infinity is as it was, and says nothing of the others.
        differs = ~((left == right) & np.isinf(right))
        left, right = left[differs], right[differs]
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            self.broken = True
            return
        self.dot += float(left @ right)
        self.ours += float(left @ left)
        self.theirs += float(right @ right)
        if left.size:
            self.error = max(self.error, float(np.abs(left - right).max()))
            self.largest = max(self.largest, float(np.abs(right).max()))

    @property
    def cosine(self) -> float:
        """Cosine of the angle; 1 where both are zero."""
        norm = (self.ours * self.theirs) ** 0.5
        return self.dot / norm if norm else float(self.ours == self.theirs)

    @property
    def scaled(self) -> float:
        """The largest error over the largest value."""
        return self.error / self.largest if self.largest else float(self.error > 0)


@dataclass(slots=True)
class Measured:
    """The worst over outputs and names."""

    cosine: float = 1.0
    scaled: float = 0.0
    broken: bool = False
    where: str = ""
    seconds: float = 0.0
    """Of one run of the first item."""

    def loss(self, target: Target) -> float:
        """Say which share of what the target allows is used up: it is met up to 1."""
        if self.broken:
            return WORST
        shares = [0.0]
        if target.cosine is not None:
            shares.append((1 - self.cosine) / max(1 - target.cosine, 1e-9))
        if target.scaled is not None:
            shares.append(self.scaled / max(target.scaled, 1e-9))
        return max(shares)

    def plain(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {"cosine": self.cosine, "scaled": self.scaled, "where": self.where}


@dataclass(slots=True)
class Reference:
    """The outputs of the model that others are compared with."""

    items: list[Named]
    outputs: list[list[Array]] = field(default_factory=list)

    @classmethod
    def of(cls, session: ort.InferenceSession, items: list[Named]) -> Reference:
        """Run a model on all items."""
        return cls(items=items, outputs=list(_run(session, items)))

    @property
    def is_empty(self) -> bool:
        """Nothing can be compared: there is no item, or no output of floating numbers."""
        return not any(one.dtype.kind == "f" for results in self.outputs for one in results)

    def measure(self, session: ort.InferenceSession, *, timed: bool = False) -> Measured:
        """Compare another model on the same items."""
        names = [output.name for output in session.get_outputs()]
        distances: dict[tuple[str, str], Distance] = {}
        results = zip(self.items, _run(session, self.items), self.outputs, strict=True)
        for (shape, _), ours, theirs in results:
            for name, one, reference in zip(names, ours, theirs, strict=True):
                if reference.dtype.kind == "f":
                    distances.setdefault((shape, name), Distance()).add(one, reference)
        found = Measured()
        for (shape, name), distance in distances.items():
            if distance.broken or distance.cosine < found.cosine:
                found.where = f"{name} at {shape}"
            found.broken = found.broken or distance.broken
            found.cosine = min(found.cosine, distance.cosine)
            found.scaled = max(found.scaled, distance.scaled)
        if timed and self.items:
            found.seconds = _time(session, self.items[0])
        return found


def _run(session: ort.InferenceSession, items: list[Named]) -> Iterator[list[Array]]:
    feeder = Feeder(session)
    for index, (_, item) in enumerate(items):
        results = session.run(None, feeder.feed(item, index))
        yield [np.asarray(result) for result in results]


def _time(session: ort.InferenceSession, item: Named) -> float:
    feed = Feeder(session).feed(item[1], 0)
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - start)
    return median(taken)
