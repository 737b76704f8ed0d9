"""The ``tokens`` steps: what a model writes, token by token, and what PyTorch's writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Dim, Input, Model, Recipe
from onnxbuild.steps.reference.spec import model_libraries
from onnxbuild.steps.served import as_inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How one step's outputs become the next one's inputs."""

    count: int
    """Tokens to write."""

    inputs: Mapping[str, Input] = field(default_factory=dict)
    """The inputs, in order, and where the values of those come from that no output becomes."""

    dynamic_axes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By input: axis -> name of its dimension."""

    dims: Mapping[str, Dim] = field(default_factory=dict)
    """Bounds of those dimensions."""

    feeds: Mapping[str, str] = field(default_factory=dict)
    """By output, the input that it becomes."""

    seed: int = 0
    """From which values are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTokensOptions:
    """What PyTorch's tokens depend on."""

    decoding: Decoding
    """How it is decoded."""

    model: Model
    """How the model is loaded."""

    constants: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `forward()` that are no tensors."""

    outputs: tuple[str, ...] | None = None
    """Names of the outputs; the model's own if left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensOptions:
    """What a variant's tokens depend on."""

    decoding: Decoding
    """How it is decoded."""

    threads: int = 1
    """Threads of onnxruntime: a constant, since it can change sums."""


def reference_tokens(recipe: Recipe, count: int, sampling: Step) -> Output:
    """Make the step that decodes with the original model; give its ``tokens``."""
    step = Step(
        run="onnxbuild.steps.generate.run:reference_tokens",
        label=f"{count} tokens of the reference",
        options=ReferenceTokensOptions(
            decoding=_decoding(recipe, count),
            model=recipe.model,
            constants=recipe.constants,
            outputs=recipe.outputs,
        ),
        inputs={name: Output(sampling, name) for name in ("samples", "shapes")},
        outputs=("tokens",),
        libraries=model_libraries(recipe.model),
        folder=recipe.folder,
        variables=recipe.pass_env,
    )
    return Output(step, "tokens")


def tokens(
    recipe: Recipe,
    name: str,
    count: int,
    model: Output,
    sampling: Step,
    files: Mapping[str, Output] | None = None,
) -> Output:
    """Make the step that decodes with a variant; give its ``tokens``."""
    calls_user = any(item.values is not None for item in recipe.inputs.values())
    step = Step(
        run="onnxbuild.steps.generate.run:tokens",
        label=f"{count} tokens of {name}",
        options=TokensOptions(decoding=_decoding(recipe, count)),
        inputs={"model": model, **as_inputs(files)}
        | {source: Output(sampling, source) for source in ("samples", "shapes")},
        outputs=("tokens",),
        libraries=("numpy", "onnx", "onnx-ir", "onnxruntime"),
        folder=recipe.folder if calls_user else None,
        variables=recipe.pass_env if calls_user else (),
        machine=True,
        resources=Resources(isolate=True),
    )
    return Output(step, "tokens")


def _decoding(recipe: Recipe, count: int) -> Decoding:
    return Decoding(
        count=count,
        inputs=recipe.inputs,
        dynamic_axes={
            name: axes for name, axes in recipe.dynamic_axes.items() if name in recipe.inputs
        },
        dims=recipe.dims,
        feeds=recipe.feeds,
    )
