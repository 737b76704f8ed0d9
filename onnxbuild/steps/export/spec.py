"""The ``export`` step: the PyTorch model, its modules replaced, as a clean ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any

from onnxbuild.core.step import OWN, Output, Step
from onnxbuild.core.values import plain
from onnxbuild.recipe.opsets import DEFAULT_OPSET, find_ir, find_opset
from onnxbuild.recipe.releases import TORCHSCRIPT
from onnxbuild.recipe.schema import Dim, Export, Input, Model, Recipe
from onnxbuild.steps.export.ways import Attempt, Way, exporter_of, first_ways, next_trial
from onnxbuild.steps.reference.spec import bare_inputs, model_libraries

RUN = "onnxbuild.steps.export.run:export"
SCRIPTED = "onnxbuild.steps.export.scripted:export"


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
    """The rules, in order: each its ``name`` and ``level``, the function that applies it (``run``) and its
    ``options``."""

    description: str = ""
    """Becomes the model's doc string."""

    is_highest: bool = False
    """The opset is the highest that the target runs: a way that writes only lower ones gives its own highest."""

    highest_ir: int | None = None
    """The highest version of the file format that the target reads."""

    folder: str | None = None
    """The recipe's folder, relative to the project root: where further attempts run as well."""

    variables: tuple[str, ...] = ()
    """Names of the environment variables that reach them."""

    attempts: tuple[Attempt, ...] = ()
    """What was tried before, and failed."""


def export(recipe: Recipe, sampling: Step, expected: Output) -> Output:
    """Export the recipe's model; `expected` is the reference that the result is compared with."""
    settings = recipe.export
    opset = find_opset(settings, recipe.target)
    if recipe.model.onnx is None and opset is None:
        opset = DEFAULT_OPSET
    is_highest = settings.opset == "auto"
    settings = changed(settings, opset=opset)
    # How a published model is laid out in files changes nothing in the graph.
    settings = changed(settings, external_data="auto")
    options = ExportOptions(
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
            {"name": name, "level": rule.level, "run": rule.run, "options": plain(rule)}
            for name, rule in recipe.replace.items()
        ),
        description=recipe.description,
        is_highest=is_highest,
        highest_ir=find_ir(recipe.target),
        folder=recipe.folder,
        variables=recipe.pass_env,
    )
    inputs = {
        "samples": Output(sampling, "samples"),
        "shapes": Output(sampling, "shapes"),
        "reference": expected,
    }
    ways, _ = first_ways(settings)
    is_file = recipe.model.onnx is not None
    may_grow = not is_file and (len(ways) > 1 or settings.auto_rules)
    # Beside the function, the server warms the exporter that goes first.
    run = SCRIPTED if ways[0] == "torchscript" and not is_file else RUN
    return Output(_step(options, inputs, run, "export", may_grow=may_grow))


def attempt_again(options: ExportOptions, failed: Attempt) -> Output | None:
    """Give the export by the next way, after one has failed; None when none is left."""
    attempts = (*options.attempts, failed)
    trial = next_trial(options.export, attempts)
    if trial is None:
        return None
    inputs = {name: Output(OWN, name) for name in ("samples", "shapes", "reference")}
    label = label_of(*trial, len(attempts))
    # One more failure, and there may be nothing left to grow into: the step says so itself then.
    return Output(_step(changed(options, attempts=attempts), inputs, RUN, label, may_grow=True))


def lower(options: ExportOptions, way: Way) -> ExportOptions:
    """Give the options of a way that does not write the highest opset of the target, where that is what is asked."""
    opset = options.export.opset
    if not options.is_highest or exporter_of(way) != "torchscript" or not isinstance(opset, int):
        return options
    return changed(options, export=changed(options.export, opset=min(opset, TORCHSCRIPT[-1])))


def label_of(way: Way, is_helped: bool, number: int) -> str:
    """Name the step of an attempt, counted from 0."""
    return f"export with {name_of(way, is_helped)}" if number else "export"


def name_of(way: Way, is_helped: bool) -> str:
    """Name an attempt as people are told of it."""
    return f"{way} and rules" if is_helped else way


def _step(
    options: ExportOptions, inputs: Mapping[str, Output], run: str, label: str, *, may_grow: bool
) -> Step:
    return Step(
        run=run,
        label=label,
        options=options,
        inputs=inputs,
        # Not onnxruntime: it looks at the result, and `verify`, which has it in its key, looks again.
        libraries=tuple(
            name
            for name in sorted({*model_libraries(options.model), "onnx", "onnx-ir", "onnxscript"})
            if name != "onnxruntime"
        ),
        folder=options.folder,
        variables=options.variables,
        may_grow=may_grow,
    )
