"""Jobs and outcomes as plain JSON, as they travel to a worker and back."""

from __future__ import annotations

from typing import Any, TypeAlias

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Failure, Job, Outcome, Status
from onnxbuild.core.values import build, hints, plain
from onnxbuild.errors import OnnxbuildError

Json: TypeAlias = dict[str, Any]
"""A JSON object."""

WORKER = "onnxbuild.worker"
"""The module whose `run` does the work of one job."""


def job_to_json(job: Job) -> Json:
    """Write a job as plain values."""
    written: Json = plain(job)
    return written


def job_from_json(data: Json) -> Job:
    """Read a job back."""
    return build(Job, data)


def outcome_to_json(outcome: Outcome) -> Json:
    """Write an outcome as plain values."""
    written: Json = plain(outcome)
    return written


def outcome_from_json(data: Json) -> Outcome:
    """Read an outcome back."""
    return build(Outcome, data)


def warm() -> None:
    """Resolve the types of jobs and outcomes once, for workers that are forked later."""
    for cls in (Job, Outcome, Failure, Artifact):
        hints(cls)


def ended(
    status: Status,
    what: str,
    *,
    hint: str = "",
    log: str = "",
    kind: str = "StepError",
    memory: int = 0,
    where: str = "",
) -> Json:
    """Make the outcome of a job that could not say itself how it ended."""
    failure = Failure(what=what, where=where, hint=hint, kind=kind)
    return outcome_to_json(Outcome(status=status, failure=failure, log=log, memory=memory))


def refused(error: OnnxbuildError) -> Json:
    """Give the outcome of a job that could not even be started."""
    return ended(
        "failed", error.what, where=error.where, hint=error.hint, kind=type(error).__name__
    )
