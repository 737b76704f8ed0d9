"""The ``quantize_dynamic`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.graph.prepare.spec import PreProcess, prepare
from onnxbuild.recipe.stage import Precision, Stage, StageContext

EXTRA_OPTIONS = (
    "ActivationRestrictedAsymmetric", "ActivationSymmetric", "DefaultTensorType", "EnableSubgraph",
    "ForceQuantizeNoInputCheck", "MatMulConstBOnly", "WeightSymmetric",
)  # fmt: skip
"""What `onnxruntime.quantization.quantize_dynamic` reads of ``extra_options``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeDynamic(Stage):
    """Store weights as 8-bit integers; ranges of activations are found at run time. Needs no data.

    The first choice for transformers. Convolutions become ``ConvInteger``, which few accelerators have.
    """

    precision: ClassVar[Precision | None] = "int8"

    weight_type: Literal["QInt8", "QUInt8"] = "QInt8"
    """Integer type of the weights."""

    per_channel: bool = True
    """One scale for each output channel of a weight. Better numbers, same speed: the library's own default
    (false) took MiniLM's cosine with PyTorch from 0.99 to 0.62."""

    reduce_range: bool = False
    """Use 7 of the 8 bits, for processors without VNNI, where sums saturate."""

    op_types_to_quantize: tuple[str, ...] = ()
    """Operators to quantize; all that can be, if left out."""

    nodes_to_quantize: tuple[str, ...] = ()
    """Names of the nodes to quantize; all if left out."""

    nodes_to_exclude: tuple[str, ...] = ()
    """Names of nodes to leave as they are."""

    extra_options: Mapping[str, Any] = field(default_factory=dict)
    """The library's ``extra_options``: ``MatMulConstBOnly``, ``WeightSymmetric``, ``EnableSubgraph`` …"""

    pre_process: bool | PreProcess = True
    """Infer shapes and fold constants before, with options of its own if given as a mapping."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become the preparation and one step."""
        step = Step(
            label=f"{context.name}: quantize dynamically",
            run="onnxbuild.stages.quantize_dynamic.run:quantize",
            # Preparation is a step of its own, which its options belong to.
            options=replace(self, pre_process=False),
            inputs={"model": prepare(model, self.pre_process)},
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)
