"""What a build will take, foreseen from what its steps took when they last ran."""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import ContentStore
from onnxbuild.core.step import Step

LIBRARIES = 350_000_000
"""Bytes that torch and the ONNX libraries take once they are imported, as measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step took, or steps like it on average."""

    seconds: float
    memory: int
    """Peak resident bytes of its worker."""
    stored: int
    """Bytes of content that it added to the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What steps will take together. Sums leave out the steps that nothing is known of."""

    steps: int
    known: int
    """Those of which an earlier run, or one of the same function, is on record."""
    seconds: float
    """From the first start to the last end, with as many at once as were asked for."""
    memory: int
    """The most that those that run at once take together, in bytes."""
    stored: int
    largest: Step | None
    """The step that takes the most memory."""
    largest_memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a build is foreseen to take. `to_json` is what ``plan --json`` prints of it."""

    sure: Forecast
    """For the steps that will run."""

    most: Forecast
    """If every step behind them runs as well."""

    overhead: float
    """Seconds besides the steps."""

    published: int
    """Bytes of the published models that are written anew at most."""

    def to_json(self) -> dict[str, Any]:
        """Give seconds and bytes, for the steps that will run and for all that may."""
        return {
            name: {
                "steps": one.steps,
                "known": one.known,
                "seconds": round(one.seconds + self.overhead, 3) if one.known else None,
                "memory": one.memory if one.known else None,
                "disk": one.stored + self.published if one.known else None,
            }
            for name, one in (("will_run", self.sure), ("at_most", self.most))
        }


def foresee(steps: Sequence[Step], slots: int, cost_of: Callable[[Step], Cost | None]) -> Forecast:
    """Foresee steps that run, producers before consumers, with `slots` at once."""
    costs = {id(step): cost for step in steps if (cost := cost_of(step)) is not None}
    seconds, memory = _simulate(steps, slots, costs)
    largest = max(
        (step for step in steps if id(step) in costs),
        key=lambda step: costs[id(step)].memory,
        default=None,
    )
    return Forecast(
        steps=len(steps),
        known=len(costs),
        seconds=seconds,
        memory=memory,
        stored=sum(cost.stored for cost in costs.values()),
        largest=largest,
        largest_memory=costs[id(largest)].memory if largest is not None else 0,
    )


def _simulate(steps: Sequence[Step], slots: int, costs: Mapping[int, Cost]) -> tuple[float, int]:
    """Run the steps in thought: give when the last ends, and the most memory in use at once."""
    taking_part = {id(step) for step in steps}
    waits = {
        id(step): {id(output.step) for output in step.inputs.values()} & taking_part
        for step in steps
    }
    consumers: dict[int, list[int]] = {}
    for number, sources in waits.items():
        for source in sources:
            consumers.setdefault(source, []).append(number)
    ready = deque(number for number, sources in waits.items() if not sources)
    running: list[tuple[float, int]] = []
    # Workers are forked from one server: what the smallest of them takes of libraries, all of them share.
    shared = min((min(cost.memory, LIBRARIES) for cost in costs.values()), default=0)
    clock, memory, most = 0.0, shared, 0
    nothing = Cost(seconds=0.0, memory=shared, stored=0)
    while ready or running:
        while ready and len(running) < slots:
            number = ready.popleft()
            cost = costs.get(number, nothing)
            heapq.heappush(running, (clock + cost.seconds, number))
            memory += cost.memory - shared
        most = max(most, memory)
        clock, ended = heapq.heappop(running)
        memory -= costs.get(ended, nothing).memory - shared
        for number in consumers.get(ended, ()):
            waits[number].discard(ended)
            if not waits[number]:
                ready.append(number)
    return clock, most


def fit_slots(
    steps: Sequence[Step], slots: int, cost_of: Callable[[Step], Cost | None], memory: int
) -> int:
    """Give how many of the slots may be used for what runs at once to fit into `memory` bytes; at least one."""
    while slots > 1 and foresee(steps, slots, cost_of).memory > memory:
        slots -= 1
    return slots


def added_bytes(
    results: Iterable[Artifact], inputs: Iterable[Artifact], store: ContentStore
) -> int:
    """Give the bytes of content that results have beyond what the inputs had already."""
    old = {digest for artifact in inputs for digest in (artifact.digest, *artifact.parts)}
    paths: set[str] = set()
    for artifact in results:
        if artifact.inline is None:
            if artifact.digest not in old:
                paths.add(store.path(artifact))
            paths.update(store.blob_path(part) for part in artifact.parts if part not in old)
    return sum(os.path.getsize(path) for path in paths if os.path.exists(path))
