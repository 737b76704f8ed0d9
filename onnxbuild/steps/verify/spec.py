"""The ``verify`` step: a model's outputs against PyTorch's, at every shape that is visited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Recipe
from onnxbuild.steps.served import as_inputs


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


def verify(
    recipe: Recipe,
    name: str,
    model: Output,
    sampling: Step,
    expected: Output,
    files: Mapping[str, Output] | None = None,
    exported: Output | None = None,
) -> Output:
    """Make the step that measures a variant, and give its ``fidelity``. It judges nothing.

    `files` are what is published in place of the model, by name: the outputs are theirs. `exported` is given for a
    variant that rounds more than the exported model does, with whose choices its own are compared.
    """
    beside = {} if exported is None else {"exported": exported}
    step = Step(
        run="onnxbuild.steps.verify.run:verify",
        label=f"verify {name}",
        options=VerifyOptions(outputs=recipe.outputs, weights=recipe.export.export_params),
        inputs={
            "model": model,
            "samples": Output(sampling, "samples"),
            "shapes": Output(sampling, "shapes"),
            "reference": expected,
            **as_inputs(files),
            **beside,
        },
        outputs=("fidelity",),
        libraries=("numpy", "onnx", "onnx-ir", "onnxruntime"),
        machine=True,
        resources=Resources(isolate=True),
    )
    return Output(step, "fidelity")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateOptions:
    """Where two models are looked into."""

    sample: str = "example"
    """Name of the shape of the sample that both run on."""

    threads: int = 1
    """Threads of onnxruntime."""


def locate(name: str, model: Output, exported: Output, fidelity: Output, sample: str) -> Output:
    """Make the step that says how far each node of a variant is from the exported model's, in order.

    For a variant that missed a gate; `fidelity` is the output of its verification.
    """
    step = Step(
        run="onnxbuild.steps.verify.locate:locate",
        label=f"locate the error of {name}",
        options=LocateOptions(sample=sample),
        inputs={
            "model": model,
            "exported": exported,
            "samples": fidelity.step.inputs["samples"],
            "shapes": fidelity.step.inputs["shapes"],
        },
        outputs=("errors",),
        libraries=("numpy", "onnx", "onnx-ir", "onnxruntime"),
        machine=True,
        resources=Resources(isolate=True),
    )
    return Output(step, "errors")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateModulesOptions:
    """Which model's modules are looked at, and where."""

    reference: Any = None
    """How the original model is loaded and called: the options of the reference."""

    sample: str = "example"
    """Name of the shape of the sample that both run on."""

    threads: int = 1
    """Threads of onnxruntime."""


def locate_modules(exported: Output, fidelity: Output, sample: str) -> Output | None:
    """Make the step that says how far the exported graph is from each module of the original model.

    For an export that missed a gate. None where the recipe starts from an ONNX file, which has no modules.
    """
    expected = fidelity.step.inputs["reference"].step
    if expected.options.model.onnx is not None:
        return None
    step = Step(
        run="onnxbuild.steps.verify.modules:locate_modules",
        label="locate the error of the export",
        options=LocateModulesOptions(reference=expected.options, sample=sample),
        inputs={
            "exported": exported,
            "samples": fidelity.step.inputs["samples"],
            "shapes": fidelity.step.inputs["shapes"],
        },
        outputs=("errors",),
        libraries=(*expected.libraries, "onnx", "onnx-ir", "onnxruntime"),
        folder=expected.folder,
        variables=expected.variables,
        machine=True,
        resources=Resources(isolate=True),
    )
    return Output(step, "errors")
