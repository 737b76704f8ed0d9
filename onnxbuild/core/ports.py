"""The small protocols through which the parts talk. Each has a contract test class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from onnxbuild.core.artifact import Artifact, Kind
from onnxbuild.core.digest import Content
from onnxbuild.core.trace import Fact, Trace

Status: TypeAlias = Literal[
    "ok", "steps", "failed", "changed", "lost", "out of memory", "timeout", "cancelled"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One step to run, as plain values: it can travel to another process or machine."""

    id: str
    run: str
    options: Any
    inputs: Mapping[str, Artifact]
    outputs: tuple[str, ...]
    label: str
    store: str
    """Where the worker's store is."""
    root: str
    """The project root, an absolute path."""
    folder: str | None
    """The working directory, relative to the root; None for a step that runs no user code."""
    roots: Mapping[str, str] = field(default_factory=dict)
    """Named folders outside the project: name -> absolute path."""
    ignored: tuple[str, ...] = ()
    """Absolute folders that are not observed (the store, `artifacts/`)."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The declared variables. No other reaches the step."""
    threads: int = 1
    timeout: float | None = None
    isolate: bool = False
    seen: str = ""
    """File to which the worker writes, as it goes, what it is seen to read; one of its own if empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a step failed, in the user's words."""

    what: str
    where: str = ""
    hint: str = ""
    kind: str = "StepError"
    """Name of the class in `onnxbuild.errors`, or of the exception that user code raised."""
    traceback: str = ""
    """The frames of the user's own code, where there are any."""


ASKED = "variables_asked_for"
"""In the notes of a step: the environment variables that project code asked for and did not get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended."""

    status: Status
    """Only ``lost`` is tried again by itself; ``changed`` means that a file that the step had read changed
    while it ran, so that its result belongs to no state of the project."""
    results: Mapping[str, Artifact] = field(default_factory=dict)
    grown: Mapping[str, Any] | None = None
    observations: tuple[Fact, ...] = ()
    signatures: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    """By absolute path: size, mtime_ns, ctime_ns and inode of each file digested, as of the digest."""
    failure: Failure | None = None
    log: str = ""
    seconds: float = 0.0
    memory: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)


class ContentStore(Protocol):
    """Content by digest. Whatever is put is checked, flushed and renamed before its name is given out."""

    def put_bytes(self, content: Content) -> str:
        """Keep `content` as a blob and give its digest."""
        ...

    def put_file(self, path: str) -> str:
        """Keep the content of a file as a blob (the file itself may be consumed) and give its digest."""
        ...

    def put_graph(self, content: bytes, parts: Iterable[str], weights_size: int) -> Artifact:
        """Keep a serialized graph whose external data are blobs of this store."""
        ...

    def blob_path(self, digest: str) -> str:
        """Say where the blob lies. Read only; the file may be missing."""
        ...

    def path(self, artifact: Artifact) -> str:
        """Say where the content of an artifact lies: for a model, the graph beside ``blobs/``."""
        ...

    def damaged(self, artifact: Artifact) -> tuple[str, ...]:
        """Read an artifact and its parts; give the digests that are missing or damaged.

        Damaged content is moved to ``quarantine/``, so that putting it again repairs it. What this process
        has already checked, or put, is not read again.
        """
        ...

    def folder(self) -> AbstractContextManager[str]:
        """Make a private temporary folder inside the store, removed at the end."""
        ...


class Claim(Protocol):
    """The right to run one action key, or the word of who has it."""

    holder: str
    """Empty when the claim is ours, else who holds it: ``process 123 on host``."""

    def wait(self) -> None:
        """Block until the holder has released it, or died. The claim is not ours then: claim anew."""
        ...

    def release(self) -> None:
        """Give it back. Without effect when it is not ours."""
        ...


class ActionCache(Protocol):
    """Action key -> traces."""

    def traces(self, key: str) -> tuple[Trace, ...]:
        """Give all traces of a key, oldest first."""
        ...

    def record(self, trace: Trace) -> None:
        """Keep a trace, after its content. One transaction."""
        ...

    def claim(self, key: str) -> Claim:
        """Try to be the one that runs `key`, without waiting."""
        ...


class Executor(Protocol):
    """Runs jobs. Outcomes are delivered from any thread through the callable it was made with."""

    def prepare(self, modules: Sequence[str], *, soon: bool = False) -> None:
        """Take the hint that jobs with these run modules may come, in this order. Returns at once.

        `soon`: right after a job that runs now, so that there is time to get ready, but none to lose.
        """
        ...

    def submit(self, job: Job) -> None:
        """Start a job, or queue it. Never blocks on a job's end."""
        ...

    def cancel(self, job_id: str) -> None:
        """Stop a job with all its children; its outcome is ``cancelled``."""
        ...

    def close(self) -> None:
        """Stop everything that still runs and wait until it is gone."""
        ...


Deliver: TypeAlias = Callable[[str, Outcome], None]
"""Takes a job's id and its outcome."""


class Work(Protocol):
    """What a run function gets: `run(work) -> {output name: Artifact}` or `MoreSteps`."""

    options: Any
    """The step's options as plain values; `onnxbuild.core.values.build` makes the dataclass again."""
    folder: str
    """A private temporary folder; also where ``tempfile`` puts things."""
    store: ContentStore
    notes: dict[str, Any]
    """What the step says about its work; ends up in the trace and in build.json."""

    def input(self, name: str) -> str:
        """Give the path of an input's content: a graph (weights beside it), an .npz or another file. Read only."""
        ...

    def inputs(self) -> Mapping[str, Artifact]:
        """Give all inputs."""
        ...

    def json(self, name: str) -> Any:
        """Read a ``json`` input."""
        ...

    def put_json(self, value: Any) -> Artifact:
        """Make a ``json`` result."""
        ...

    def put_file(self, path: str, kind: Kind = "file") -> Artifact:
        """Make a result of a file that the step wrote, which is consumed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreSteps:
    """The answer of a step that knows its work only now: `outputs` of new steps stand for its own.

    The inputs of the new steps may be outputs of other new steps, or, as ``work.inputs()`` names them, the
    growing step's own inputs: an `Output` whose step is `OWN`.
    """

    outputs: Mapping[str, Any]
    """By the growing step's output names: an `onnxbuild.core.step.Output` of a new step, or of `OWN`."""
