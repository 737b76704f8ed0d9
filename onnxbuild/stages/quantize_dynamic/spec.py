"""The ``quantize_dynamic`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.graph.prepare.spec import PreProcess, prepare
from onnxbuild.graph.sparing.spec import Budget, Mode, RankOptions, Target, spare
from onnxbuild.recipe.stage import Integers, Stage, StageContext

EXTRA_OPTIONS = (
    "ActivationRestrictedAsymmetric", "ActivationSymmetric", "DefaultTensorType", "EnableSubgraph",
    "ForceQuantizeNoInputCheck", "MatMulConstBOnly", "WeightSymmetric",
)  # fmt: skip
"""What `onnxruntime.quantization.quantize_dynamic` reads of ``extra_options``."""

RESIDUE = 0.2
"""Share of its loss that a node keeps in blocks. Measured on MiniLM: with all nodes in blocks 1 - cosine is 0.18 of
what it is without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeDynamic(Integers):
    """Store weights as 8-bit integers; ranges of activations are found at run time. Needs no data.

    The first choice for transformers. Convolutions become ``ConvInteger``, which few accelerators have.
    """

    weight_type: Literal["QInt8", "QUInt8"] = "QInt8"
    """Integer type of the weights."""

    per_channel: bool = True
    """One scale for each output channel of a weight. Better numbers, same speed: the library's own default
    (false) took MiniLM's cosine with PyTorch from 0.99 to 0.62."""

    reduce_range: bool | None = None
    """Use 7 of the 8 bits, for processors without VNNI, where sums saturate. Left out: as the processor that
    builds needs it."""

    op_types_to_quantize: tuple[str, ...] = ()
    """Operators to quantize; ``[all]`` that can be. Left out: as the architecture needs it, which for a transformer
    is matrix products and looked-up tables, and else all. A table (``Gather``) has a scale for each row."""

    nodes_to_quantize: tuple[str, ...] = ()
    """The nodes to quantize, by name, glob or torch module (``encoder.layers.3``); all if left out."""

    nodes_to_exclude: tuple[str, ...] = ()
    """Nodes to leave as they are, chosen likewise."""

    nodes_to_weight_only: tuple[str, ...] = ()
    """Nodes that lose too much with one scale for all activations: their weights become integers by blocks, and a
    scale of the activations is found for each block of each row (onnxruntime's ``MatMulNBits``). Slower than
    the others, as small. What ``mode: auto`` leaves out is here."""

    extra_options: Mapping[str, Any] = field(default_factory=dict)
    """The library's ``extra_options``: ``MatMulConstBOnly``, ``WeightSymmetric``, ``EnableSubgraph`` …"""

    mode: Mode = "all"
    """``all`` quantizes all that is asked. ``auto`` measures what each node loses on the samples, and leaves out the
    fewest with which the target is met; ``run`` and build.json tell the curve of
    size, error and time."""

    target: Target | None = None
    """What ``auto`` must meet: ``{cosine: 0.99}``. Left out: what `verify` asks of the variant."""

    budget: Budget = "60s"
    """How long ``auto`` may measure and try."""

    pre_process: bool | PreProcess = True
    """Infer shapes and fold constants before, with options of its own if given as a mapping."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become the preparation and one step."""
        step = Step(
            label=f"{context.name}: quantize dynamically",
            run="onnxbuild.stages.quantize_dynamic.run:quantize",
            # Preparation and search are steps of their own, which these options belong to.
            options=replace(self, pre_process=False, mode="all", target=None, budget="60s"),
            inputs={"model": prepare(model, self.pre_process)},
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            machine=self.reduce_range is None,
            resources=Resources(isolate=True),
        )
        if self.mode == "all":
            return Output(step)
        return spare(
            step,
            context,
            target=self.target,
            budget=self.budget,
            ranks=self._ranking(),
            leave_in="nodes_to_weight_only",
        )

    def _ranking(self) -> RankOptions:
        return RankOptions(
            target=Target(),
            seconds=0,
            op_types=self.op_types_to_quantize,
            nodes_to_quantize=self.nodes_to_quantize,
            nodes_to_exclude=self.nodes_to_exclude,
            reduce_range=self.reduce_range,
            residue=RESIDUE,
        )

    def refuses(self, earlier: Stage) -> str:
        """What is half precision already is not quantized either."""
        if earlier.form() == "half":
            return "quantize first, and let `float16` start from the result"
        # Slots make another class of this one, which `super()` without names would not know.
        return Integers.refuses(self, earlier)
