"""The ``onnxscript`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.stage import Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxScript(Stage):
    """Simplify the graph with onnxscript's optimizer: constants folded, functions inlined, dead nodes gone."""

    num_iterations: int = 2
    """How often the passes are repeated, at most."""

    onnx_shape_inference: bool = True
    """Infer shapes on the way: more can be folded."""

    input_size_limit: int = 1024
    """Bytes of a constant above which nothing that takes it is folded."""

    output_size_limit: int = 1024
    """Bytes of a result above which it is not folded: the file would grow."""

    inline: bool = True
    """Put the bodies of local functions in place of their calls."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step."""
        step = Step(
            label=f"{context.name}: onnxscript",
            run="onnxbuild.stages.onnxscript.run:optimize",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)
