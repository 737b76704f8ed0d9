"""The ``transformer_fusion`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.stage import Stage, StageContext

ModelType: TypeAlias = Literal[
    "bart", "bert", "clip", "conformer", "gpt2", "mmdit", "phi", "sam2", "t5", "unet", "vae", "vit"
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerFusion(Stage):
    """Fuse attention, normalizations and activations into onnxruntime's operators for transformers.

    Comes before `float16` and the quantizing stages. Of the ways to fuse, that is taken which fuses most and gives
    the same numbers.
    """

    model_type: ModelType | None = None
    """Whose patterns to look for. Left out: those of several kinds are tried."""

    num_heads: int = 0
    """Heads of an attention; 0 finds them in the graph."""

    hidden_size: int = 0
    """Features of a token; 0 finds them in the graph."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step, which compares numbers on the samples where it has some."""
        inputs = {"model": model}
        if context.sampling is not None:
            inputs["samples"] = Output(context.sampling, "samples")
            inputs["shapes"] = Output(context.sampling, "shapes")
        step = Step(
            label=f"{context.name}: fuse {self.model_type or 'a transformer'}",
            run="onnxbuild.stages.transformer_fusion.run:fuse",
            options=self,
            inputs=inputs,
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            machine=True,
            resources=Resources(isolate=True),
        )
        return Output(step)

    def refuses(self, earlier: Stage) -> str:
        """Its patterns are those of floats, and of what is not fused yet."""
        if isinstance(earlier, TransformerFusion) or earlier.form() in {"fused", "layout"}:
            return "fuse once: leave one of the two out"
        if earlier.form():
            return "fuse first, and let the other start from the result"
        return ""
