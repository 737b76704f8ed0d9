"""The ``benchmark`` step: the latency of a variant beside that of the exported model."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """How time is measured."""

    threads: int = 1
    """Threads of onnxruntime."""

    seconds: float = 0.4
    """How long both models are run together, at least three times each."""


def benchmark(
    recipe: Recipe,  # noqa: ARG001 - all steps are made from the recipe first
    name: str,
    model: Output,
    baseline: Output,
    sampling: Step,
) -> Output:
    """Make the step that times a variant and its `baseline` in turns; give its ``latency``."""
    step = Step(
        run="onnxbuild.steps.benchmark.run:benchmark",
        label=f"benchmark {name}",
        options=BenchmarkOptions(),
        inputs={"model": model, "baseline": baseline, "samples": Output(sampling, "samples")},
        outputs=("latency",),
        libraries=("numpy", "onnxruntime"),
        machine=True,
        resources=Resources(exclusive=True, isolate=True),
    )
    return Output(step, "latency")
