"""The ``float16`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Limits
from onnxbuild.recipe.stage import Form, Precision, Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Float16(Stage):
    """Store weights and compute in half precision: half the size, for hardware that has it.

    Constants that half precision cannot hold keep the nodes that use them in float32, and are named in
    the notes; only what stands for infinity (from 1e30 on, and the fill of a ``Where``) is cut to the limit.
    """

    precision: ClassVar[Precision | None] = "fp16"

    keep_io_types: bool | tuple[str, ...] = False
    """Leave inputs and outputs in float32: all of them, or those named."""

    min_positive_val: Annotated[float, Limits(minimum=0)] = 1e-7
    """Smaller weights become this (with their sign), so that an epsilon does not become zero."""

    max_finite_val: Annotated[float, Limits(minimum=0, maximum=65504)] = 65504.0
    """The largest value that counts as one that half precision can hold. The library's own 1e4 cuts weights
    without a word."""

    disable_shape_infer: bool = False
    """Leave out shape inference. Then casts around nodes that stay in float32 may be missing."""

    op_block_list: tuple[str, ...] = ()
    """Operators that stay in float32, besides the library's own list and ``Cast``."""

    node_block_list: tuple[str, ...] = ()
    """Names of nodes that stay in float32."""

    check_fp16_ready: bool = True
    """Refuse a model that has half precision already."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step."""
        step = Step(
            label=f"{context.name}: float16",
            run="onnxbuild.stages.float16.run:convert",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxconverter-common", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)

    def form(self) -> Form:
        """Half precision."""
        return "half"

    def refuses(self, earlier: Stage) -> str:
        """Half precision comes once; of a graph laid out for a processor it does not load."""
        if earlier.form() == "layout":
            return "let the stage with `level: all` come last, or take `level: extended` for it"
        if earlier.form() == "half" and self.check_fp16_ready:
            return "start from a stage before that (`from:`), or set check_fp16_ready: false"
        return ""
