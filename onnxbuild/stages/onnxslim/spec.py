"""The ``onnxslim`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.stage import Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSlim(Stage):
    """Simplify the graph with onnxslim: constants folded, shapes inferred, equal nodes made one. Needs that package."""

    no_shape_infer: bool = False
    """Leave out shape inference."""

    skip_optimizations: tuple[str, ...] = ()
    """Optimizations to leave out, by the library's names: ``constant_folding``, ``weight_tying`` …"""

    skip_fusion_patterns: tuple[str, ...] = ()
    """Fusions to leave out, by the library's names: ``FusionGelu``, ``FusionConvBN`` …"""

    size_threshold: int | None = None
    """Bytes of a constant above which it is not folded."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step."""
        step = Step(
            label=f"{context.name}: onnxslim",
            run="onnxbuild.stages.onnxslim.run:slim",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxslim", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)
