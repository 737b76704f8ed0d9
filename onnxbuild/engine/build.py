"""Driving one build: asks the scheduler what is next, the cache what is known, workers for the rest."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread
from typing import Any

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.events import (
    Listener,
    Planned,
    Said,
    StepCached,
    StepFailed,
    StepRan,
    StepStarted,
    StepWaits,
)
from onnxbuild.core.facts import find_path, first_broken, is_settled, is_vouched, now
from onnxbuild.core.ports import Claim, Executor, Failure, Job, Outcome
from onnxbuild.core.step import Output, Step
from onnxbuild.core.trace import Trace
from onnxbuild.engine.forecast import added_bytes
from onnxbuild.engine.growth import read_growth
from onnxbuild.engine.hints import Hints
from onnxbuild.engine.keys import find_ingredients, make_key
from onnxbuild.engine.scheduler import (
    Failed,
    Found,
    Grew,
    Instruction,
    LookUp,
    Lost,
    Missing,
    Place,
    Scheduler,
)
from onnxbuild.engine.setting import (
    Record,
    Site,
    Status,
    Store,
    Witness,
    do_differ,
    find_digest,
    is_there,
    make_job,
    merge,
    tell_loss,
)
from onnxbuild.errors import StoreError

ATTEMPTS = 3
"""Times that a step is started when its worker is lost, or files change under it."""


class Build:
    """One build over one store."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        store: Store,
        executor: Executor,
        outcomes: SimpleQueue[tuple[str, Outcome]],
        site: Site,
        jobs: int,
        keep_going: bool = False,
        timeout: float | None = None,
        rerun: Callable[[Step], bool] = lambda _: False,
        why: Callable[[Step, Mapping[str, Any], Sequence[Trace]], str] = lambda *_: "",
        listen: Listener = lambda _: None,
        witness: Witness | None = None,
        folder: str = "",
        refuse: Callable[[Step], Failure | None] = lambda _: None,
    ) -> None:
        """Take what a build needs: above all, what may refuse a step before it starts.

        `folder` is a private one inside the store, for the logs of observation.
        """
        self.id = secrets.token_hex(8)
        self.records: list[Record] = []
        self.scheduler = Scheduler(steps, jobs=jobs, keep_going=keep_going)
        self._store = store
        self._executor = executor
        self._queue: SimpleQueue[tuple[str, Outcome | None]] = outcomes  # type: ignore[assignment]
        self._site = site
        self._timeout = timeout
        self._rerun = rerun
        self._why = why
        self._listen = listen
        self._witness = witness
        self._known = store.known_files()
        self._remembered = dict(self._known)
        self._jobs: dict[str, tuple[int, Job, Claim]] = {}
        self._waiting: dict[str, int] = {}
        self._attempts: dict[int, int] = {}
        self._folder = folder
        self._refuse = refuse
        self._started = False
        self._hints = Hints(self.scheduler, executor)

    def run(self) -> None:
        """Bring every step up to date, or find out why not. `records` then says how each ended."""
        self._listen(Planned(len(self.scheduler.nodes)))
        instructions = self.scheduler.start() if not self._started else []
        self._started = True
        self._drive(instructions)

    def add(self, steps: Sequence[Step]) -> None:
        """Bring more steps up to date, whose inputs are outputs of those that are there."""
        self._drive(self.scheduler.add(steps))

    def results(self, output: Output) -> Artifact | None:
        """Give the result that an output has now; None when its step did not end well."""
        node = self.scheduler.nodes[self.scheduler.number[id(output.step)]]
        return node.results[output.name] if node.state == "done" and node.results else None

    def ensure(self, outputs: Iterable[Output]) -> None:
        """See that the content of outputs is whole in the store, running their steps again if it is not."""
        wanted = list(outputs)
        for _ in range(ATTEMPTS):
            lost = {
                (self.scheduler.number[id(output.step)], output.name): digests
                for output in wanted
                if (digests := self._find_lost(self.results(output)))
            }
            if not lost:
                return
            self._say_lost(lost)
            self._drive(self.scheduler.handle(Lost(None, list(lost))))
        raise StoreError(
            "what was written to the store is damaged again and again",
            where=self._store.root,
            hint="check the disk; set settings.store to a folder on another one",
        )

    def close(self) -> None:
        """Remember what was digested, and give back what a build that was broken off still claims."""
        while self._jobs:
            self._jobs.popitem()[1][2].release()
        fresh = {
            path: entry
            for path, entry in self._known.items()
            if self._remembered.get(path) != entry
        }
        self._store.remember_files(fresh)
        self._remembered.update(fresh)

    def digest_path(self, path: str) -> str:
        """Digest a file, from memory where its signature vouches for it; empty when it is not there."""
        kind, digest = now("file", path, self._site.root, {}, self._known)
        return digest if kind == "file" else ""

    def trace_of(self, output: Output) -> Trace | None:
        """Give the trace of the step that really made an output."""
        number = self.scheduler.number[id(output.step)]
        return self._record(self.scheduler.producer((number, output.name))[0]).trace

    def _find_lost(self, artifact: Artifact | None) -> tuple[str, ...]:
        return () if artifact is None else self._store.damaged(artifact)

    def _record(self, number: int) -> Record:
        while len(self.records) <= number:
            self.records.append(Record(self.scheduler.nodes[len(self.records)].step))
        return self.records[number]

    def _drive(self, instructions: list[Instruction]) -> None:
        pending = list(reversed(instructions))
        while pending or self._jobs or self._waiting:
            if pending:
                instruction = pending.pop()
                if isinstance(instruction, LookUp):
                    events = self._look_up(instruction.node, instruction.inputs)
                else:
                    events = self._start(instruction.node, instruction.inputs)
            else:
                self._hints.give([number for number, _, _ in self._jobs.values()])
                events = self._receive()
            for event in events:
                pending.extend(reversed(self.scheduler.handle(event)))
        for number in range(len(self.scheduler.nodes)):
            self._record(number)

    def _look_up(self, number: int, inputs: Mapping[str, Artifact]) -> list[Any]:
        record = self._record(number)
        ingredients = find_ingredients(record.step, inputs)
        record.key = make_key(ingredients)
        traces = self._store.traces(record.key)
        if not self._rerun(record.step):
            trace = self._find(number, traces)
            if trace is not None:
                return [self._take(number, trace, "cached")]
        elif record.status == "ran":
            return [self._take(number, record.trace, "ran")] if record.trace else [Missing(number)]
        record.reason = (
            "asked to run again" if self._rerun(record.step)
            else self._why(record.step, ingredients, traces)
        )  # fmt: skip
        return [Missing(number)]

    def _find(self, number: int, traces: Sequence[Trace]) -> Trace | None:
        """Give the first trace that holds, of several the first whose content is there: never the newest."""
        holding = [trace for trace in traces if self._holds(trace)]
        if len(holding) < 2:  # noqa: PLR2004
            # A hit needs the digests of results, not their content.
            return holding[0] if holding else None
        if do_differ(holding) and not self._record(number).step.timed:
            self._record(number).varied = len(holding)
        return next((one for one in holding if is_there(one, self._store)), holding[0])

    def _holds(self, trace: Trace) -> bool:
        site, roots = self._site, dict(self._site.roots)
        names = [name for kind, name, _ in trace.observations if (kind, name[0]) == ("file", ".")]
        paths = [find_path(name, site.root, roots) for name in names]
        watching = self._witness if self._witness is not None and self._jobs else None
        # What is vouched for is not opened: an open of it meanwhile is somebody else's.
        opened = [path for path in paths if not is_vouched(path, self._known)] if watching else []
        with watching.own(opened) if watching and opened else nullcontext():
            facts = trace.observations
            return first_broken(facts, site.root, roots, self._known, site.ignored) is None

    def _take(self, number: int, trace: Trace, status: Status) -> Found | Grew:
        record = self._record(number)
        record.trace = trace
        if not (status == "cached" and record.status == "ran"):
            record.status = status
        if status == "cached":
            self._listen(StepCached(record.step))
        if trace.grown is not None:
            steps, outputs = read_growth(trace.grown)
            return Grew(number, steps, outputs)
        return Found(number, trace.results)

    def _start(self, number: int, inputs: Mapping[str, Artifact]) -> list[Any]:
        node = self.scheduler.nodes[number]
        record = self._record(number)
        lost = {
            node.needs[name]: digests
            for name, artifact in inputs.items()
            if (digests := self._find_lost(artifact))
        }
        if lost:
            self._say_lost(lost)
            return [Lost(number, list(lost))]
        refusal = self._refuse(record.step)
        if refusal is not None:
            return [self._fail(number, Outcome(status="failed", failure=refusal))]
        ingredients = find_ingredients(record.step, inputs)
        record.key = make_key(ingredients)
        claim = self._store.claim(record.key)
        if claim.holder:
            # A step of our own with the same inputs is nobody to be told of.
            if not any(
                self.records[other].key == record.key for other, _, _ in self._jobs.values()
            ):
                self._listen(StepWaits(record.step, claim.holder))
            self._wait(number, claim)
            return []
        if not node.forced and not self._rerun(record.step):
            # Another build may have finished it between our look-up and our claim.
            trace = self._find(number, self._store.traces(record.key))
            if trace is not None:
                claim.release()
                return [self._take(number, trace, "cached")]
        self._submit(number, inputs, claim)
        return []

    def _wait(self, number: int, claim: Claim) -> None:
        token = f"wait-{secrets.token_hex(4)}"
        self._waiting[token] = number

        def watch() -> None:
            claim.wait()
            self._queue.put((token, None))

        Thread(target=watch, daemon=True).start()

    def _submit(self, number: int, inputs: Mapping[str, Artifact], claim: Claim) -> None:
        step = self._record(number).step
        name = f"{self.id}-{number}-{secrets.token_hex(4)}"
        seen = os.path.join(self._folder, name) if self._folder else ""
        job = make_job(step, inputs, self._site, name=name, store=self._store.root, seen=seen)
        job = replace(job, timeout=job.timeout or self._timeout)
        self._jobs[job.id] = (number, job, claim)
        if self._witness is not None:
            self._witness.started(job)
        self._listen(StepStarted(step, self._record(number).reason))
        self._executor.submit(job)

    def _receive(self) -> list[Any]:
        name, outcome = self._queue.get()
        if name in self._waiting:
            number = self._waiting.pop(name)
            node = self.scheduler.nodes[number]
            return self._start(
                number, {key: self._input(place) for key, place in node.needs.items()}
            )
        if outcome is None or name not in self._jobs:
            return []
        number, job, claim = self._jobs.pop(name)
        try:
            return self._conclude(number, job, outcome, claim)
        finally:
            claim.release()

    def _input(self, place: tuple[int, str]) -> Artifact:
        results = self.scheduler.nodes[place[0]].results
        assert results is not None  # noqa: S101 - a node that was told to run has all its inputs
        return results[place[1]]

    def _conclude(self, number: int, job: Job, outcome: Outcome, claim: Claim) -> list[Any]:
        record = self._record(number)
        unexplained = self._witness.finished(job) if self._witness else ()
        record.log = outcome.log
        if outcome.status in {"lost", "changed"}:
            self._attempts[number] = self._attempts.get(number, 0) + 1
            if self._attempts[number] < ATTEMPTS:
                claim.release()
                return self._start(number, job.inputs)
        if outcome.status not in {"ok", "steps"}:
            return [self._fail(number, outcome)]
        for path, seen in outcome.signatures.items():
            digest = find_digest(outcome, path, self._site)
            if digest and is_settled(seen):
                self._known[path] = (seen, digest)
        trace = Trace(
            key=record.key,
            ingredients=find_ingredients(record.step, job.inputs),
            observations=merge(outcome.observations, unexplained or (), self._site, self._known),
            results=outcome.results,
            grown=outcome.grown,
            log=outcome.log,
            seconds=outcome.seconds,
            memory=outcome.memory,
            stored=added_bytes(outcome.results.values(), job.inputs.values(), self._store),
            made=time.time(),
            build=self.id,
            notes=outcome.notes,
        )
        record.kept = unexplained is not None
        if not record.kept:
            self._listen(
                Said(
                    f"{record.step.label}: its result is not kept, since what was read for it is not known:"
                    " a file changed under a program that it started, or more were opened than can be watched"
                )
            )
        else:
            self._store.record(trace)
        self._listen(StepRan(record.step, outcome.seconds))
        if self._rerun(record.step):
            # Run again without need, a step may give another result: what is used stays what was first.
            trace = self._find(number, self._store.traces(record.key)) or trace
        return [self._take(number, trace, "ran")]

    def _fail(self, number: int, outcome: Outcome) -> Failed:
        record = self._record(number)
        record.status = "failed"
        record.seconds = outcome.seconds
        record.failure = outcome.failure or Failure(what=f"the step ended as {outcome.status!r}")
        self._listen(StepFailed(record.step, record.failure))
        return Failed(number)

    def _say_lost(self, lost: Mapping[Place, Sequence[str]]) -> None:
        """Say once of each step whose content is gone what is wrong with it."""
        for place, digests in lost.items():
            record = self._record(self.scheduler.producer(place)[0])
            record.reason = tell_loss(digests, self._store.quarantined)
            self._listen(Said(f"{record.step.label}: {record.reason}; it is built again"))
