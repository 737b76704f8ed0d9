"""The ``custom`` stage, a function of the user's: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Entry
from onnxbuild.recipe.stage import Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom(Stage):
    """Let a function of the user's rewrite the graph.

    ``function(model, **options)`` gets an ``onnx.ModelProto`` with its weights in memory, and returns it or
    another, or an ``onnx_ir.Model``. ``use: file.py:function`` is short for it.
    """

    function: Entry
    """The function."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Its keyword arguments."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step, which runs in the recipe's folder."""
        step = Step(
            label=f"{context.name}: {self.function.rpartition(':')[2]}",
            run="onnxbuild.stages.custom.run:call",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            folder=context.recipe.folder,
            variables=context.recipe.pass_env,
            resources=Resources(isolate=True),
        )
        return Output(step)
