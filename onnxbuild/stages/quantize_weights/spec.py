"""The ``quantize_weights`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.stage import MIX, Form, Precision, Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeWeights(Stage):
    """Store the weights of matrix products as 4 or 8 bits with a scale for each block; compute in floats.

    The first choice for language models, whose time goes into reading weights. Needs no data; runs in onnxruntime
    alone (``MatMulNBits``). Tables that are looked up by row have 8 bits and a scale for each row.
    """

    precision: ClassVar[Precision | None] = "int8"

    bits: Literal[4, 8] = 4
    """Bits of a weight."""

    block_size: Literal[16, 32, 64, 128, 256] = 32
    """Weights that share a scale. Fewer: better numbers, more bytes."""

    symmetric: bool = False
    """Blocks without a zero point: a little smaller and faster, and worse with 4 bits."""

    accuracy_level: Literal[0, 1, 2, 3, 4] = 0
    """What onnxruntime may compute in: 0 in the type of the activations, 4 in 8-bit integers, which is faster where
    the processor is good at them."""

    tables: bool = True
    """Quantize looked-up tables, such as the embeddings of words."""

    nodes_to_exclude: tuple[str, ...] = ()
    """Nodes to leave as they are, by name, glob (``*lm_head*``) or torch module (``model.layers.0``)."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step."""
        step = Step(
            label=f"{context.name}: quantize weights to {self.bits} bits",
            run="onnxbuild.stages.quantize_weights.run:quantize",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)

    def form(self) -> Form:
        """Blocks of integers."""
        return "blocks"

    def is_partial(self) -> bool:
        """True where nodes are left out."""
        return bool(self.nodes_to_exclude)

    def refuses(self, earlier: Stage) -> str:
        """Weights become integers once."""
        if earlier.form() in {"fused", "layout"}:
            return "quantize first, and fuse after"
        if earlier.form() == "blocks":
            return "start from a stage before that (`from:`)"
        return MIX if earlier.form() == "integers" and not earlier.is_partial() else ""
