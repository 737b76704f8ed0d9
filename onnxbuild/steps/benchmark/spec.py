"""The ``benchmark`` step: the latency of a variant beside that of the exported model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Recipe
from onnxbuild.steps.served import as_inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """How time is measured."""

    threads: int = 1
    """Threads of onnxruntime."""

    seconds: float = 0.4
    """How long both models are run together, at least three times each."""


QUICK = 0.15
"""Seconds of timing where nothing is asked of the speed: enough to notice a slower variant."""


def benchmark(
    recipe: Recipe,
    name: str,
    model: Output,
    baseline: Output,
    sampling: Step,
    source: Output,
    files: Mapping[str, Output] | None = None,
) -> Output:
    """Make the step that times a variant, its `baseline` and its `source` in turns; give its ``latency``.

    Where a gate asks for a speed it runs longer, and alone. Else it runs beside other steps: what slows
    one of the two models slows the other as well.
    """
    gates = recipe.verify_of(name)
    is_gated = gates.min_speedup is not None or gates.min_speedup_over_source is not None
    inputs = {"model": model, "baseline": baseline, "samples": Output(sampling, "samples")}
    if source is not baseline:
        inputs["source"] = source
    inputs |= as_inputs(files)
    step = Step(
        run="onnxbuild.steps.benchmark.run:benchmark",
        label=f"benchmark {name}",
        options=BenchmarkOptions() if is_gated else BenchmarkOptions(seconds=QUICK),
        inputs=inputs,
        outputs=("latency",),
        libraries=("numpy", "onnx", "onnx-ir", "onnxruntime"),
        machine=True,
        timed=True,
        resources=Resources(exclusive=is_gated, isolate=True),
    )
    return Output(step, "latency")
