"""Which step is looked up, run or skipped next: events in, instructions out, no I/O.

A node waits until all that it needs is done, is then looked up by its driver, and run when nothing
is found. A step that answers with more steps is *grown*: it needs the outputs that stand for its
own. When content turns out to be lost, its producer is run again; if that gives other results, all
that was built on the earlier ones is looked up anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, TypeAlias

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.step import OWN, Output, Step

State: TypeAlias = Literal["waiting", "looking", "queued", "running", "done", "failed", "skipped"]
Place: TypeAlias = tuple[int, str]
"""The number of a node and the name of one of its outputs."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Instruction: is there a trace for this node with these inputs? Answer `Found` or `Missing`."""

    node: int
    inputs: Mapping[str, Artifact]


@dataclass(frozen=True, slots=True)
class Run:
    """Instruction: run this node. Answer `Found`, `Failed`, or `Lost` when inputs are not whole."""

    node: int
    inputs: Mapping[str, Artifact]


@dataclass(frozen=True, slots=True)
class Found:
    """Event: the results of a node, from a trace or from running it."""

    node: int
    results: Mapping[str, Artifact]


@dataclass(frozen=True, slots=True)
class Grew:
    """Event: a node answered with more steps; `outputs` of them (or of `OWN`) stand for its own."""

    node: int
    steps: Sequence[Step]
    outputs: Mapping[str, Output]


@dataclass(frozen=True, slots=True)
class Missing:
    """Event: no trace holds; the node must run."""

    node: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Event: the node cannot give results."""

    node: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Event: content that `node` (or, with None, a publish) needs is missing or damaged."""

    node: int | None
    places: Sequence[Place]


Instruction: TypeAlias = LookUp | Run
Event: TypeAlias = Found | Grew | Missing | Failed | Lost


@dataclass(slots=True)
class Node:
    """One step of the build and where it stands."""

    step: Step
    needs: dict[str, Place]
    state: State = "waiting"
    results: Mapping[str, Artifact] | None = None
    consumers: list[int] = field(default_factory=list)
    height: int = 0
    """Steps on the longest way to the end: what many wait for goes first."""
    grown: bool = False
    """`needs` now names, by output, what stands for this node's outputs."""
    own: dict[str, Place] = field(default_factory=dict)
    """The inputs it had before it grew."""
    forced: bool = False
    """Its content was lost: run it without looking it up."""
    stale: bool = False
    """An input changed while it ran; its result will be looked up anew."""


class Scheduler:
    """Decides for one build. `nodes` is public for reading."""

    def __init__(self, steps: Iterable[Step], *, jobs: int, keep_going: bool = False) -> None:
        """Take the steps of a plan, producers before consumers."""
        self.nodes: list[Node] = []
        self.number: dict[int, int] = {}
        """By the identity of a step, the number of its node."""
        self.jobs = jobs
        """Steps that may run at once."""
        self._keep_going = keep_going
        self._failed = False
        self._running: set[int] = set()
        self._looking: set[int] = set()
        self._queue: list[tuple[int, bool, int]] = []
        """What may run, the next first: what many wait for, and what measures time when there is less to do."""
        self._out: list[Instruction] = []
        self._add(steps, {})

    def start(self) -> list[Instruction]:
        """Give the first instructions."""
        for number in range(len(self.nodes)):
            self._advance(number)
        return self._instructions()

    def add(self, steps: Iterable[Step]) -> list[Instruction]:
        """Take more steps, and give what to do for them."""
        first = len(self.nodes)
        self._add(steps, {})
        for number in range(first, len(self.nodes)):
            self._advance(number)
        return self._instructions()

    def handle(self, event: Event) -> list[Instruction]:
        """Take in what happened and give what to do next."""
        if event.node is not None:
            self._looking.discard(event.node)
            self._running.discard(event.node)
            if self._is_outdated(event.node):
                return self._instructions()
        match event:
            case Found(number, results):
                self._finish(number, results)
            case Grew(number, steps, outputs):
                self._grow(number, steps, outputs)
            case Missing(number):
                self._enqueue(number)
            case Failed(number):
                self._fail(number)
            case Lost(number, places):
                self._lose(number, places)
        return self._instructions()

    def successors(self, numbers: Iterable[int]) -> Iterator[Node]:
        """Give the waiting nodes that need something of these, and nothing that is not done or on its way."""
        consumers = (self.nodes[number].consumers for number in numbers)
        for consumer in dict.fromkeys(chain.from_iterable(consumers)):
            node = self.nodes[consumer]
            if node.state == "waiting" and all(
                self.nodes[source].state in {"done", "running", "queued"}
                for source, _ in node.needs.values()
            ):
                yield node

    def producer(self, place: Place) -> Place:
        """Give the node that really makes an output, behind all that has grown."""
        number, name = place
        while self.nodes[number].grown:
            number, name = self.nodes[number].needs[name]
        return number, name

    def _add(self, steps: Iterable[Step], own: Mapping[str, Place]) -> None:
        first = len(self.nodes)
        for step in steps:
            number = len(self.nodes)
            needs = {name: self._place(output, own) for name, output in step.inputs.items()}
            self.nodes.append(Node(step, needs))
            self.number[id(step)] = number
            for source, _ in needs.values():
                self.nodes[source].consumers.append(number)
        for number in range(len(self.nodes) - 1, first - 1, -1):
            node = self.nodes[number]
            for source, _ in node.needs.values():
                self.nodes[source].height = max(self.nodes[source].height, node.height + 1)

    def _place(self, output: Output, own: Mapping[str, Place]) -> Place:
        if output.step is OWN:
            return own[output.name]
        return self.number[id(output.step)], output.name

    def _advance(self, number: int) -> None:
        """Look a waiting node up, or pass the results on of one that has grown, when its needs are done."""
        node = self.nodes[number]
        if node.state != "waiting":
            return
        sources = [self.nodes[source] for source, _ in node.needs.values()]
        if any(source.state in {"failed", "skipped"} for source in sources):
            self._skip(number)
            return
        if any(source.state != "done" for source in sources):
            return
        if node.grown:
            self._finish(number, self._inputs(node))
        elif node.forced:
            self._enqueue(number)
        else:
            node.state = "looking"
            self._looking.add(number)
            self._out.append(LookUp(number, self._inputs(node)))

    def _inputs(self, node: Node) -> dict[str, Artifact]:
        inputs: dict[str, Artifact] = {}
        for name, (source, output) in node.needs.items():
            results = self.nodes[source].results
            assert results is not None  # noqa: S101 - only called when all needs are done
            inputs[name] = results[output]
        return inputs

    def _enqueue(self, number: int) -> None:
        node = self.nodes[number]
        node.state = "queued"
        heapq.heappush(self._queue, (-node.height, node.step.timed, number))

    def _instructions(self) -> list[Instruction]:
        """Start what may start, and give all instructions that have come up.

        Nothing starts while a node is being looked up, which takes no time to speak of: what it finds may
        be higher than all that is queued.
        """
        held: list[tuple[int, bool, int]] = []
        while self._queue and not self._looking and len(self._running) < self.jobs:
            if self._failed and not self._keep_going:
                break
            entry = heapq.heappop(self._queue)
            number = entry[-1]
            node = self.nodes[number]
            if node.state != "queued":
                continue
            if any(self.nodes[other].step.resources.exclusive for other in self._running):
                held.append(entry)
                break
            if node.step.resources.exclusive and (self._running or self._others_can_run(held)):
                held.append(entry)
                continue
            node.state = "running"
            self._running.add(number)
            self._out.append(Run(number, self._inputs(node)))
        for entry in held:
            heapq.heappush(self._queue, entry)
        instructions, self._out = self._out, []
        return instructions

    def _others_can_run(self, held: Sequence[tuple[int, bool, int]]) -> bool:
        """Tell whether anything that needs no machine of its own is, or may soon be, queued: that goes first."""
        waiting = {number for *_, number in held}
        return any(
            number not in waiting
            and self.nodes[number].state == "queued"
            and not self.nodes[number].step.resources.exclusive
            for *_, number in self._queue
        )

    def _finish(self, first: int, results: Mapping[str, Artifact]) -> None:
        """Take results in and wake those that need them, without recursion: chains are long."""
        finished: list[tuple[int, Mapping[str, Artifact]]] = [(first, results)]
        while finished:
            number, results = finished.pop()
            node = self.nodes[number]
            changed = node.results is not None and dict(node.results) != dict(results)
            node.results, node.state, node.forced = results, "done", False
            for consumer_number in dict.fromkeys(node.consumers):
                consumer = self.nodes[consumer_number]
                if changed:
                    self._renew(consumer)
                if consumer.state != "waiting":
                    continue
                if consumer.grown and self._are_done(consumer):
                    finished.append((consumer_number, self._inputs(consumer)))
                else:
                    self._advance(consumer_number)

    def _is_outdated(self, number: int) -> bool:
        """Ask anew for a node that was built on an input that has changed since: the answer is to the old question."""
        node = self.nodes[number]
        if not node.stale:
            return False
        node.stale = node.forced = False
        node.state = "waiting"
        self._advance(number)
        return True

    def _are_done(self, node: Node) -> bool:
        return all(self.nodes[source].state == "done" for source, _ in node.needs.values())

    def _renew(self, node: Node) -> None:
        """Ask again for a node one of whose inputs now has other results."""
        if node.state in {"running", "looking"}:
            node.stale = True
        elif node.state in {"done", "queued"}:
            node.state = "waiting"
            if node.own:
                # What it grew into depends on its own inputs: it is looked up from the start.
                node.grown, node.needs, node.own = False, node.own, {}

    def _grow(self, number: int, steps: Sequence[Step], outputs: Mapping[str, Output]) -> None:
        node = self.nodes[number]
        first = len(self.nodes)
        node.own = dict(node.needs)
        self._add(steps, node.own)
        node.needs = {name: self._place(output, node.own) for name, output in outputs.items()}
        node.grown, node.state, node.forced = True, "waiting", False
        for source, _ in node.needs.values():
            self.nodes[source].consumers.append(number)
            self.nodes[source].height = max(self.nodes[source].height, node.height + 1)
        for new in range(first, len(self.nodes)):
            self._advance(new)
        self._advance(number)

    def _fail(self, number: int) -> None:
        self.nodes[number].state = "failed"
        self._failed = True
        for consumer in self.nodes[number].consumers:
            self._skip(consumer)

    def _skip(self, first: int) -> None:
        doomed = [first]
        while doomed:
            node = self.nodes[doomed.pop()]
            if node.state in {"waiting", "queued", "done"}:
                node.state = "skipped"
                doomed.extend(node.consumers)

    def _lose(self, number: int | None, places: Sequence[Place]) -> None:
        if number is not None:
            self.nodes[number].state = "waiting"
        for place in places:
            source, _ = self.producer(place)
            node = self.nodes[source]
            if node.state == "done":
                node.state, node.forced = "waiting", True
                self._unsettle(source)
                self._advance(source)

    def _unsettle(self, source: int) -> None:
        """What has grown around a lost output is not done either, until that output is."""
        for consumer in self.nodes[source].consumers:
            node = self.nodes[consumer]
            if node.grown and node.state == "done":
                node.state = "waiting"
                self._unsettle(consumer)
