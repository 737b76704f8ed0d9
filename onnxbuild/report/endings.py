"""How the steps of a build ended, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxbuild.engine.build import Build
from onnxbuild.errors import GateError
from onnxbuild.planner import Plan
from onnxbuild.report.result import Problem, Status, StepResult


def find_status(problems: Sequence[Problem], process: Build) -> Status:
    """Say how the build ended: what failed weighs more than a missed gate."""
    if any(record.status in {"failed", "skipped"} for record in process.records):
        return "failed"
    if any(problem.exit_code != GateError.exit_code for problem in problems):
        return "failed"
    return "gate" if problems else "ok"


def list_steps(plan: Plan, process: Build) -> Iterator[StepResult]:
    """Give every step, those that others grew into too."""
    for record in process.records:
        yield StepResult(
            label=record.step.label,
            recipe=plan.owner(record.step),
            status=record.status,
            seconds=record.trace.seconds if record.trace else record.seconds,
            reason=record.reason if record.status in {"ran", "failed"} else "",
            key=record.key,
            log=record.trace.log if record.trace else record.log,
        )


def list_failures(plan: Plan, process: Build) -> Iterator[Problem]:
    """Give what went wrong in the steps that failed, with their recipe where there are several."""
    several = len({variant.recipe for variant in plan.variants}) > 1
    for record in process.records:
        if record.failure is not None:
            failure = record.failure
            owner = f"{plan.owner(record.step)}: " if several else ""
            yield Problem(
                what=f"{owner}{record.step.label}: {failure.what}",
                where=failure.where,
                hint=failure.hint,
                traceback=failure.traceback,
            )
