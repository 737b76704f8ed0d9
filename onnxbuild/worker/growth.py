"""The answer of a step that grows, as plain values; `onnxbuild.engine.growth` reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onnxbuild.core.ports import Job, MoreSteps
from onnxbuild.core.step import OWN, Output, Step
from onnxbuild.core.values import plain
from onnxbuild.errors import StepError

FIELDS = (
    "run",
    "label",
    "options",
    "outputs",
    "libraries",
    "threads",
    "folder",
    "variables",
    "machine",
    "timed",
    "may_grow",
    "resources",
)


def write_growth(answer: MoreSteps, job: Job) -> dict[str, Any]:
    """Write new steps, producers first, and which of their outputs stand for the job's own.

    Raises `StepError` where the answer does not fit the job.
    """
    if sorted(answer.outputs) != sorted(job.outputs):
        raise StepError(
            f"the step answered with steps for {_list(answer.outputs)}, its outputs are {_list(job.outputs)}",
            where=job.run,
        )
    order: list[Step] = []
    number: dict[int, int] = {}
    for step in _producers_first(output.step for output in answer.outputs.values()):
        number[id(step)] = len(order)
        order.append(step)
    return {
        "steps": [
            {
                **{name: plain(getattr(step, name)) for name in FIELDS},
                "inputs": {
                    name: _place(output, number, job) for name, output in step.inputs.items()
                },
            }
            for step in order
        ],
        "outputs": {name: _place(output, number, job) for name, output in answer.outputs.items()},
    }


def _producers_first(ends: Iterable[Step]) -> Iterable[Step]:
    """Walk steps without recursion, each once, what it needs before it. `OWN` is not among them."""
    done = {id(OWN)}
    entered: set[int] = set()
    stack = list(reversed(list(ends)))
    while stack:
        step = stack[-1]
        needs = [output.step for output in step.inputs.values() if id(output.step) not in done]
        if id(step) in done or not needs:
            stack.pop()
            if id(step) not in done:
                done.add(id(step))
                yield step
            continue
        if id(step) in entered:
            raise StepError("the new steps need each other in a circle", where=step.run)
        entered.add(id(step))
        stack.extend(reversed(needs))


def _place(output: Output, number: dict[int, int], job: Job) -> dict[str, Any]:
    if output.step is OWN:
        if output.name not in job.inputs:
            raise StepError(
                f"a new step wants the input {output.name!r}, the growing step has {_list(job.inputs)}",
                where=job.run,
            )
        return {"own": output.name}
    if output.name not in output.step.outputs:
        raise StepError(
            f"a new step is asked for {output.name!r}, its outputs are {_list(output.step.outputs)}",
            where=output.step.run,
        )
    return {"step": number[id(output.step)], "output": output.name}


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
