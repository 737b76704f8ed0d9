"""The ``evaluate`` and ``score`` steps: the recipe's metric, for a model and for PyTorch's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Recipe, Verify
from onnxbuild.steps.served import as_inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What is measured, and on how many threads."""

    metric: str
    """``metric(pairs) -> float`` or ``{name: float}``."""

    threads: int = 1
    """Threads of onnxruntime: a constant, since it can change sums."""


def evaluate(
    recipe: Recipe,
    name: str,
    gates: Verify,
    model: Output,
    items: Output,
    files: Mapping[str, Output] | None = None,
) -> Output:
    """Make the step that runs a variant over a data entry and measures it; give its ``metric``."""
    step = Step(
        run="onnxbuild.steps.evaluate.run:evaluate",
        label=f"evaluate {name}",
        options=EvaluateOptions(metric=_metric(gates)),
        inputs={"model": model, "items": items, **as_inputs(files)},
        outputs=("metric",),
        libraries=("numpy", "onnx", "onnx-ir", "onnxruntime"),
        folder=recipe.folder,
        variables=recipe.pass_env,
        machine=True,
        resources=Resources(isolate=True),
    )
    return Output(step, "metric")


def score(recipe: Recipe, gates: Verify, predictions: Output, items: Output) -> Output:
    """Make the step that measures PyTorch's own outputs; give its ``metric``."""
    step = Step(
        run="onnxbuild.steps.evaluate.run:score",
        label="score the reference",
        options=EvaluateOptions(metric=_metric(gates)),
        inputs={"predictions": predictions, "items": items},
        outputs=("metric",),
        libraries=("numpy",),
        folder=recipe.folder,
        variables=recipe.pass_env,
    )
    return Output(step, "metric")


def _metric(gates: Verify) -> str:
    if gates.metric is None:
        msg = "these gates have no metric"
        raise ValueError(msg)
    return gates.metric
