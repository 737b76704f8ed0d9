"""Search for the fewest nodes that must stay float32, by bisection.

The first trial has all nodes in half precision. Where that is too far from PyTorch, half of them is tried, and
then, on top of what has passed, whatever else passes: a part that does not is halved until single nodes are
left, which stay. Each trial is two steps, a conversion and a measurement in true half precision, so
that each is kept; this step answers with those, and with itself one trial later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnxbuild.core.ports import MoreSteps, Work
from onnxbuild.core.step import OWN, Output, Resources, Step
from onnxbuild.core.values import build
from onnxbuild.recipe.tolerances import find_excess
from onnxbuild.stages.float16.conversion import Conversion
from onnxbuild.stages.float16.observing import read_ranges
from onnxbuild.stages.float16.spec import LIBRARIES, MixedOptions, Part, TrialOptions, Tried
from onnxbuild.stages.float16.tried import refuse

MEASURE = "onnxbuild.steps.verify.trial:measure"


def search(work: Work) -> MoreSteps:
    """Judge the last trial, and answer with the next one, or with the model that the search has led to."""
    options = build(MixedOptions, work.options)
    conversion = Conversion(work, options.stage)
    ranges, rounded = read_ranges(work.json("ranges"))
    names = conversion.candidates(ranges, rounded)
    state = options
    if "errors" in work.inputs():
        state = _judge(options, work.json("errors"))
    elif not options.tried:
        state = replace(options, pending=(Part(first=0, end=len(names)),))
    if state.pending and len(state.tried) < options.stage.max_trials:
        return MoreSteps(outputs={"model": _next(work, state, names)})
    return MoreSteps(outputs={"model": _finish(state, names)})


def _judge(options: MixedOptions, errors: Mapping[str, Any]) -> MixedOptions:
    """Take the last part in where it has passed, halve it where not."""
    *pending, part = options.pending
    excess = max(
        (
            find_excess(result, options.outputs.get(name, options.tolerance))
            for shape in errors["shapes"]
            for name, result in shape["outputs"].items()
        ),
        # Nothing that could be compared proves nothing.
        default=math.inf,
    )
    tried = (
        *options.tried,
        Tried(first=part.first, end=part.end, excess=min(excess, LARGEST)),
    )
    if excess <= 1:
        return replace(
            options, accepted=(*options.accepted, part), pending=tuple(pending), tried=tried
        )
    if part.end - part.first > 1:
        middle = (part.first + part.end) // 2
        pending += [Part(first=middle, end=part.end), Part(first=part.first, end=middle)]
        # The largest goes first, so that what is tried early decides about most.
        pending.sort(key=_size)
    return replace(options, pending=tuple(pending), tried=tried)


LARGEST = 1e30
"""Stands for infinity, which JSON has not."""


def _next(work: Work, state: MixedOptions, names: Sequence[str]) -> Output:
    """Make the steps of a trial, and this one after it."""
    part = state.pending[-1]
    trial = _convert(state, names, (*state.accepted, part))
    own = {name: Output(OWN, name) for name in work.inputs() if name != "errors"}
    measured = Step(
        run=MEASURE,
        label=f"measure with {_count((*state.accepted, part))} nodes in {state.stage.dtype}",
        inputs={
            "model": Output(trial),
            **{name: own[name] for name in ("samples", "shapes", "reference")},
        },
        outputs=("errors",),
        libraries=("numpy", "onnx", "onnx-ir", "onnxruntime"),
        machine=True,
        resources=Resources(isolate=True),
    )
    again = Step(
        run="onnxbuild.stages.float16.mixed:search",
        label=f"judge trial {len(state.tried) + 1}",
        options=state,
        inputs={**own, "errors": Output(measured, "errors")},
        libraries=LIBRARIES,
        may_grow=True,
        resources=Resources(isolate=True),
    )
    return Output(again)


def _finish(state: MixedOptions, names: Sequence[str]) -> Output:
    if not state.accepted:
        raise refuse(state.tried)
    told = [f"{trial.end - trial.first} nodes: {trial.excess:.3g}" for trial in state.tried]
    print("error over what is allowed, by trial: " + json.dumps(told))  # noqa: T201
    return Output(_convert(state, names, state.accepted, state.tried))


def _convert(
    state: MixedOptions,
    names: Sequence[str],
    parts: Sequence[Part],
    tried: tuple[Tried, ...] = (),
) -> Step:
    halves = [name for part in sorted(parts, key=_first) for name in names[part.first : part.end]]
    return Step(
        run="onnxbuild.stages.float16.run:convert_some",
        label=f"convert {len(halves)} of {len(names)} nodes to {state.stage.dtype}",
        options=TrialOptions(stage=state.stage, halves=tuple(halves), tried=tried),
        inputs={name: Output(OWN, name) for name in ("model", "samples", "shapes", "ranges")},
        libraries=LIBRARIES,
        resources=Resources(isolate=True),
    )


def _count(parts: Sequence[Part]) -> int:
    return sum(map(_size, parts))


def _size(part: Part) -> int:
    return part.end - part.first


def _first(part: Part) -> int:
    return part.first
