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
    for number, record in enumerate(process.records):
        yield StepResult(
            label=record.step.label,
            recipe=find_owner(plan, process, number),
            status=record.status,
            seconds=record.trace.seconds if record.trace else record.seconds,
            reason=record.reason if record.status in {"ran", "failed"} else "",
            key=record.key,
            log=record.trace.log if record.trace else record.log,
        )


def list_failures(plan: Plan, process: Build) -> Iterator[Problem]:
    """Give what went wrong in the steps that failed, with their recipe where there are several."""
    several = len({variant.recipe for variant in plan.variants}) > 1
    for number, record in enumerate(process.records):
        if record.failure is not None:
            failure = record.failure
            owner = f"{find_owner(plan, process, number)}: " if several else ""
            yield Problem(
                what=f"{owner}{record.step.label}: {failure.what}",
                where=failure.where,
                hint=failure.hint,
                traceback=failure.traceback,
            )


def find_owner(plan: Plan, process: Build, number: int) -> str:
    """Name the recipes that need a step: those of the step that grew into it, where it is not in the plan."""
    nodes, pending = process.scheduler.nodes, [number]
    while pending:
        node = nodes[pending.pop()]
        owner = plan.owner(node.step)
        if owner:
            return owner
        pending.extend(node.consumers)
    return ""
