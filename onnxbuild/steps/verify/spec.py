"""The ``verify`` step: a model's outputs against PyTorch's, at every shape that is visited."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What is compared, and on how many threads."""

    outputs: tuple[str, ...] | None = None
    """Names of the outputs to compare; all that the reference has if left out."""

    weights: bool = True
    """The model has its weights. False: a model whose weights are inputs cannot be compared, and that is no
    error."""

    threads: int = 1
    """Threads of onnxruntime: a constant, since it can change sums."""


def verify(recipe: Recipe, name: str, model: Output, sampling: Step, expected: Output) -> Output:
    """Make the step that measures a variant, and give its ``fidelity``. It judges nothing."""
    step = Step(
        run="onnxbuild.steps.verify.run:verify",
        label=f"verify {name}",
        options=VerifyOptions(outputs=recipe.outputs, weights=recipe.export.export_params),
        inputs={
            "model": model,
            "samples": Output(sampling, "samples"),
            "shapes": Output(sampling, "shapes"),
            "reference": expected,
        },
        outputs=("fidelity",),
        libraries=("numpy", "onnx", "onnxruntime"),
        machine=True,
        resources=Resources(isolate=True),
    )
    return Output(step, "fidelity")
