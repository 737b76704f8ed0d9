"""What a build works with: its store, its place, a witness, and a record of each step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.facts import name_path, now
from onnxbuild.core.ports import ActionCache, ContentStore, Failure, Job, Outcome
from onnxbuild.core.step import Step
from onnxbuild.core.trace import Fact, Trace
from onnxbuild.core.values import plain

Status: TypeAlias = Literal["ran", "cached", "failed", "skipped"]
Signature: TypeAlias = tuple[int, int, int, int]


class Store(ContentStore, ActionCache, Protocol):
    """Content, traces and what is remembered of files."""

    root: str
    quarantined: list[str]

    def known_files(self) -> dict[str, tuple[Signature, str]]:
        """Give the remembered digests of files, by absolute path."""
        ...

    def remember_files(self, known: Mapping[str, tuple[Signature, str]]) -> None:
        """Remember digests of files."""
        ...


class Witness(Protocol):
    """Sees which files are opened below the project root, whoever opens them."""

    def started(self, job: Job) -> None:
        """Note that a job begins."""
        ...

    def finished(self, job: Job) -> Iterable[str] | None:
        """Give the paths opened since the job began that no job tells of; None when events were lost."""
        ...

    def own(self, paths: Sequence[str]) -> AbstractContextManager[None]:
        """Tell that it is the driver itself that reads these files meanwhile."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a build takes place."""

    root: str
    """The project root, absolute."""

    roots: Mapping[str, str] = field(default_factory=dict)
    """Named folders outside of it."""

    ignored: tuple[str, ...] = ()
    """Absolute folders that count for nothing: the store, the published models."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment of the caller, from which steps get the variables that they declare."""


@dataclass(slots=True)
class Record:
    """How a step of this build ended."""

    step: Step
    status: Status = "skipped"
    key: str = ""
    reason: str = ""
    trace: Trace | None = None
    failure: Failure | None = None
    log: str = ""
    seconds: float = 0.0
    """How long it ran, where it failed."""
    kept: bool = True
    """Its trace is in the store, or it has none."""
    varied: int = 0
    """Runs with these very inputs that are kept and gave different results; 0 where all gave the same."""


def make_job(
    step: Step, inputs: Mapping[str, Artifact], site: Site, *, name: str, store: str, seen: str
) -> Job:
    """Write down a step with its inputs, so that it can run anywhere."""
    return Job(
        id=name,
        seen=seen,
        run=step.run,
        options=plain(step.options),
        inputs=inputs,
        outputs=step.outputs,
        label=step.label,
        store=store,
        root=site.root,
        folder=step.folder,
        roots=site.roots,
        ignored=site.ignored,
        environment={
            name: site.variables[name] for name in step.variables if name in site.variables
        },
        threads=step.threads,
        timeout=step.resources.timeout,
        isolate=step.resources.isolate,
    )


def do_differ(traces: Sequence[Trace]) -> bool:
    """Tell whether runs with the same inputs gave different results."""
    return len({str(plain(trace.results)) for trace in traces if trace.grown is None}) > 1


def is_there(trace: Trace, store: ContentStore) -> bool:
    """Tell whether the content of all results of a trace lies in the store, whole or not."""
    return all(
        os.path.exists(path)
        for artifact in trace.results.values()
        if artifact.inline is None
        for path in (store.path(artifact), *map(store.blob_path, artifact.parts))
    )


def find_digest(outcome: Outcome, path: str, site: Site) -> str:
    """Give the digest that a worker saw for a file; empty when it saw none."""
    name = name_path(path, site.root, dict(site.roots))
    return next(
        (value for kind, named, value in outcome.observations if kind == "file" and named == name),
        "",
    )


def merge(
    observations: Sequence[Fact],
    paths: Iterable[str],
    site: Site,
    known: dict[str, tuple[Signature, str]],
) -> tuple[Fact, ...]:
    """Add files that were seen to be opened, but not by whom, as they are now."""
    roots = dict(site.roots)
    merged = set(observations)
    for path in paths:
        name = name_path(path, site.root, roots)
        kind, value = now("file", name, site.root, roots, known, site.ignored)
        merged.add((kind, name, value))
    return tuple(sorted(merged))


def tell_loss(digests: Sequence[str], quarantined: Sequence[str]) -> str:
    """Say what is wrong with a result of which these digests are gone."""
    damaged = [digest for digest in digests if digest in quarantined]
    named = (damaged or digests)[0].removeprefix("b3:")[:12]
    how = "is damaged and was put into quarantine" if damaged else "is missing in the store"
    return f"its result {named}… {how}"
