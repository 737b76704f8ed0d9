"""The ``reference`` and ``predict`` steps: the original model's outputs, once, for all comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxbuild.core.step import Output, Step
from onnxbuild.recipe.schema import Input, Model, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOptions:
    """What the outputs of the original model depend on, besides its inputs' values."""

    model: Model
    """How the model is loaded."""

    inputs: Mapping[str, Input] = field(default_factory=dict)
    """The inputs' names, shapes and types, in `forward()` order."""

    constants: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `forward()` that are no tensors."""

    outputs: tuple[str, ...] | None = None
    """Names of the outputs; the model's own if left out."""


def reference(recipe: Recipe, samples: Output) -> Output:
    """Run the original model on each sample."""
    return Output(_step(recipe, "reference", "samples", samples), "reference")


def predict(recipe: Recipe, items: Output) -> Output:
    """Run the original model on each item of a data entry, for its metric."""
    return Output(_step(recipe, "predict", "items", items), "predictions")


def _step(recipe: Recipe, function: str, name: str, source: Output) -> Step:
    return Step(
        run=f"onnxbuild.steps.reference.run:{function}",
        label=function,
        options=ReferenceOptions(
            model=recipe.model,
            inputs=bare_inputs(recipe),
            constants=recipe.constants,
            outputs=recipe.outputs,
        ),
        inputs={name: source},
        outputs=("reference",) if function == "reference" else ("predictions",),
        libraries=model_libraries(recipe.model),
        folder=recipe.folder,
        variables=recipe.pass_env,
    )


def bare_inputs(recipe: Recipe) -> dict[str, Input]:
    """Give the inputs without the sources of their values, which arrive as digests."""
    return {name: Input(shape=item.shape, dtype=item.dtype) for name, item in recipe.inputs.items()}


def model_libraries(model: Model) -> tuple[str, ...]:
    """Name the distributions that loading and running a model uses."""
    if model.onnx is not None:
        return ("numpy", "onnxruntime")
    if model.huggingface is not None:
        return ("numpy", "safetensors", "torch", "transformers")
    return ("numpy", "safetensors", "torch")
