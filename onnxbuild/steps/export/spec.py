"""The ``export`` step: the PyTorch model, its modules replaced, as a clean ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any

from onnxbuild.core.step import Output, Step
from onnxbuild.core.values import plain
from onnxbuild.recipe.schema import Dim, Export, Input, Model, Recipe
from onnxbuild.steps.reference.spec import bare_inputs, model_libraries

DEFAULT_OPSET = 18
"""What a PyTorch model is exported to where the recipe asks for no opset."""

DYNAMO_LEAST = 18
"""The lowest opset that dynamo writes; asked for a lower one, it gives this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an exported graph depends on, besides the values of samples and reference."""

    model: Model
    """How the model is loaded."""

    inputs: Mapping[str, Input] = field(default_factory=dict)
    """The inputs' names, shapes and types, in `forward()` order."""

    constants: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `forward()` that are no tensors."""

    outputs: tuple[str, ...] | None = None
    """Names of the outputs; the model's own if left out."""

    dynamic_axes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By input or output: axis -> name of its dimension."""

    dims: Mapping[str, Dim] = field(default_factory=dict)
    """Bounds of the dynamic dimensions."""

    export: Export = field(default_factory=Export)
    """The recipe's section ``export``."""

    replace: tuple[Mapping[str, Any], ...] = ()
    """The rules, in order: each its ``name``, the function that applies it (``run``) and its ``options``."""

    description: str = ""
    """Becomes the model's doc string."""


def _run_function(recipe: Recipe) -> str:
    """Name the function beside which the server warms the exporter that goes first."""
    opset = recipe.export.opset or DEFAULT_OPSET
    is_scripted = recipe.export.exporter == "torchscript" or (
        recipe.export.exporter == "auto" and opset < DYNAMO_LEAST
    )
    return f"onnxbuild.steps.export.{'scripted' if is_scripted else 'run'}:export"


def export(recipe: Recipe, sampling: Step, expected: Output) -> Output:
    """Export the recipe's model; `expected` is the reference that the result is compared with."""
    settings = recipe.export
    if recipe.model.onnx is None and settings.opset is None:
        settings = changed(settings, opset=DEFAULT_OPSET)
    # How a published model is laid out in files changes nothing in the graph.
    settings = changed(settings, external_data="auto")
    step = Step(
        run=_run_function(recipe),
        label="export",
        options=ExportOptions(
            model=recipe.model,
            inputs=bare_inputs(recipe),
            constants=recipe.constants,
            outputs=recipe.outputs,
            dynamic_axes=recipe.dynamic_axes,
            dims={
                name: Dim(min=dim.min, max=dim.max, multiple_of=dim.multiple_of)
                for name, dim in sorted(recipe.dims.items())
            },
            export=settings,
            replace=tuple(
                {"name": name, "run": type(rule).run, "options": plain(rule)}
                for name, rule in recipe.replace.items()
            ),
            description=recipe.description,
        ),
        inputs={
            "samples": Output(sampling, "samples"),
            "shapes": Output(sampling, "shapes"),
            "reference": expected,
        },
        # Not onnxruntime: it looks at the result, and `verify`, which has it in its key, looks again.
        libraries=tuple(
            name
            for name in sorted({*model_libraries(recipe.model), "onnx", "onnx-ir", "onnxscript"})
            if name != "onnxruntime"
        ),
        folder=recipe.folder,
        variables=recipe.pass_env,
    )
    return Output(step, "model")
