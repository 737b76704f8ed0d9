"""Comparing two builds of one plan, step by step: which steps give the same twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from onnxbuild.core.ports import ContentStore
from onnxbuild.core.step import Step
from onnxbuild.core.trace import Trace
from onnxbuild.core.values import plain
from onnxbuild.engine.setting import Record
from onnxbuild.report.differences import differ_as_values, tell_difference
from onnxbuild.report.result import Difference, Repeated, Uncompared

Name: TypeAlias = tuple[str, str, str, int]


def compare_builds(
    first: Sequence[Record],
    second: Sequence[Record],
    store: ContentStore,
    other: ContentStore,
    call: Callable[[Step], str] = lambda step: step.label,
) -> Repeated:
    """Compare how the steps of two builds ended, in the order of the plan, with the store of each.

    `call` says what to call a step.

    A step is to blame only for what it makes of the same inputs: one whose inputs differ is not compared.
    """
    return _Comparing(store, other, call).compare(_named(first), _named(second))


class _Comparing:
    """Goes through the steps and remembers whose results differ."""

    def __init__(
        self, store: ContentStore, other: ContentStore, call: Callable[[Step], str]
    ) -> None:
        self._store = store
        self._other = other
        self._call = call
        self._blamed: dict[str, str] = {}
        """By digest of a result of the first build, the step for which that may be another one."""
        self._broken: dict[int, str] = {}
        """By identity, steps without a result the second time, each with the step that is to blame."""

    def compare(self, first: Mapping[Name, Record], second: Mapping[Name, Record]) -> Repeated:
        same = 0
        differing: list[Difference] = []
        uncompared: list[Uncompared] = []
        for name, record in first.items():
            label = self._call(record.step)
            if record.trace is None or name not in second:
                uncompared.append(Uncompared(step=label, why="it was built once only"))
                continue
            if record.step.timed:
                uncompared.append(Uncompared(step=label, why="it measures time"))
                continue
            blamed = self._find_blamed(record, second[name])
            if blamed:
                uncompared.append(Uncompared(step=label, why=f"{blamed} differs"))
                self._blame(record, blamed)
                continue
            found = self._differ(record.trace, second[name])
            if found:
                differing.append(Difference(step=label, what=found))
                self._blame(record, label)
                continue
            same += 1
        return Repeated(same=same, differing=tuple(differing), uncompared=tuple(uncompared))

    def _find_blamed(self, record: Record, again: Record) -> str:
        """Name the step for which the inputs of this one differ; empty if they do not."""
        assert record.trace is not None  # noqa: S101 - looked at by the caller
        if again.trace is None:
            needed = (self._broken.get(id(output.step)) for output in record.step.inputs.values())
            return next(filter(None, needed), "")
        theirs = again.trace.ingredients["inputs"]
        for name, (kind, digest) in record.trace.ingredients["inputs"].items():
            if theirs[name] != [kind, digest]:
                return self._blamed.get(digest, f"its input {name!r}")
        return ""

    def _blame(self, record: Record, label: str) -> None:
        assert record.trace is not None  # noqa: S101 - looked at by the caller
        self._broken[id(record.step)] = label
        for artifact in record.trace.results.values():
            self._blamed[artifact.digest] = label

    def _differ(self, trace: Trace, again: Record) -> str:
        if again.trace is None:
            failure = again.failure
            return f"it failed the second time: {failure.what if failure else 'it was not run'}"
        if trace.grown != again.trace.grown:
            return differ_as_values("steps", plain(trace.grown), plain(again.trace.grown))
        for name, artifact in trace.results.items():
            found = again.trace.results[name]
            if found.digest != artifact.digest:
                told = tell_difference(artifact, found, self._store, self._other)
                return f"{name}: {told}" if len(trace.results) > 1 else told
        return ""


def _named(records: Sequence[Record]) -> dict[Name, Record]:
    """Name steps alike in both builds; those that others grew into may have come in another order."""
    named: dict[Name, Record] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for record in records:
        name = _name(record.step)
        counts[name] = counts.get(name, 0) + 1
        named[*name, counts[name]] = record
    return named


def _name(step: Step) -> tuple[str, str, str]:
    return step.label, step.run, repr(plain(step.options))
