"""The ``fix_dims`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Limits
from onnxbuild.recipe.stage import Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class FixDims(Stage):
    """Give dynamic dimensions one size each, for runtimes and accelerators that want it.

    What starts from this stage has them fixed too. Such variants are verified at these sizes alone.
    """

    dims: Mapping[str, Annotated[int, Limits(minimum=1)]]
    """By the name of a dimension, its size: ``{batch: 1, sequence: 128}``."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step."""
        sizes = ", ".join(f"{name}={size}" for name, size in self.dims.items())
        step = Step(
            label=f"{context.name}: fix {sizes}",
            run="onnxbuild.stages.fix_dims.run:fix",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)

    def fixes(self) -> Mapping[str, int]:
        """Give the dimensions that have one size from here on."""
        return self.dims

    def refuses(self, earlier: Stage) -> str:
        """A dimension is fixed once."""
        twice = sorted({*self.dims} & {*earlier.fixes()})
        return f"{', '.join(twice)} is fixed already: leave it out here" if twice else ""
