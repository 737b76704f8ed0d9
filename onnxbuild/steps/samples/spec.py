"""The ``samples`` step: inputs at the example shape and at the corners of the dynamic dims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onnxbuild.core.step import Output, Step
from onnxbuild.recipe.dimensions import names
from onnxbuild.recipe.schema import Dim, Input, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """What the inputs of a model are, and which shapes are visited."""

    inputs: Mapping[str, Input] = field(default_factory=dict)
    """The inputs, in order. Empty when the model itself says what it takes."""

    dynamic_axes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By input: axis -> name of its dimension."""

    dims: Mapping[str, Dim] = field(default_factory=dict)
    """Bounds of those dimensions."""

    seed: int = 0
    """From which every value is drawn."""

    onnx: str | None = None
    """The ONNX file that says what the inputs are, where the recipe does not."""

    program: str | None = None
    """The exported program that says so."""


def samples(recipe: Recipe, data: Callable[[str], Output]) -> Step:
    """Make the step whose outputs are ``samples`` and ``shapes``; `data` gives a collected entry."""
    declared = bool(recipe.inputs)
    axes = {
        name: recipe.dynamic_axes[name]
        for name in (recipe.inputs or recipe.dynamic_axes)
        if name in recipe.dynamic_axes
    }
    shapes = [item.shape for item in recipe.inputs.values()]
    written = [dim for by_axis in axes.values() for dim in by_axis.values()]
    written += [size for shape in shapes for size in shape if isinstance(size, str)]
    used = set(names(written))
    calls_user = any(item.values is not None for item in recipe.inputs.values())
    return Step(
        run="onnxbuild.steps.samples.run:samples",
        label="samples",
        options=SampleOptions(
            inputs=recipe.inputs,
            dynamic_axes=axes,
            # Where the file names its dims itself, any of them may be among its own.
            dims={name: dim for name, dim in recipe.dims.items() if name in used or not declared},
            onnx=None if declared else recipe.model.onnx,
            program=None if declared else recipe.model.program,
        ),
        inputs={
            f"data.{item.data}": data(item.data)
            for item in recipe.inputs.values()
            if item.data is not None
        },
        outputs=("samples", "shapes"),
        libraries=("numpy",) if declared else ("numpy", "onnx", "torch"),
        folder=recipe.folder if calls_user or not declared else None,
        variables=recipe.pass_env if calls_user else (),
    )
