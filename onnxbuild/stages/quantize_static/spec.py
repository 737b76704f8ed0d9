"""The ``quantize_static`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.graph.prepare.spec import PreProcess, prepare
from onnxbuild.graph.sparing.spec import Budget, Mode, RankOptions, Target, spare
from onnxbuild.recipe.schema import DataName
from onnxbuild.recipe.stage import Integers, Stage, StageContext

CALIBRATION_OPTIONS = (
    "CalibMaxIntermediateOutputs", "CalibMovingAverage", "CalibMovingAverageConstant", "CalibPercentile",
    "CalibStridedMinMax", "CalibTensorRangeSymmetric",
)  # fmt: skip
"""What calibration reads of ``extra_options``."""

QUANTIZER_OPTIONS = (
    "ActivationRestrictedAsymmetric", "ActivationSymmetric", "AddQDQPairToWeight", "DedicatedQDQPair",
    "DefaultTensorType", "EnableSubgraph", "ForceQuantizeNoInputCheck", "MatMulConstBOnly",
    "MinimumRealRange", "OpTypesToExcludeOutputQuantization", "QDQDisableWeightAdjustForInt32Bias",
    "QDQKeepRemovableActivations", "QDQOpTypePerChannelSupportToAxis", "QuantizeBias",
    "TensorQuantOverrides", "UseQDQContribOps", "WeightSymmetric",
)  # fmt: skip
"""What the quantizers read of ``extra_options``."""

WeightType: TypeAlias = Literal[
    "QInt8", "QUInt8", "QInt16", "QUInt16", "QInt4", "QUInt4", "QFLOAT8E4M3FN"
]
ActivationType: TypeAlias = Literal["QInt8", "QUInt8", "QInt16", "QUInt16", "QFLOAT8E4M3FN"]
CPU = ("CPUExecutionProvider",)
CalibrateMethod: TypeAlias = Literal["minmax", "entropy", "percentile", "distribution"]

TENSORRT: Mapping[str, Any] = {
    "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False, "DedicatedQDQPair": True,
}  # fmt: skip
"""What TensorRT reads: zero points of 0, floats for biases, and a pair of nodes for each reader of a value.

https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html
"""

HALF_OPSET = 19
"""The opset from which QuantizeLinear and DequantizeLinear take half precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveOptions:
    """What the observed ranges depend on, besides model and data."""

    calibrate_method: CalibrateMethod = "minmax"
    calibration_providers: tuple[str, ...] = CPU
    op_types_to_quantize: tuple[str, ...] = ()
    extra_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """What the quantized model depends on, besides model and ranges."""

    quant_format: Literal["QDQ", "QOperator"] = "QDQ"
    activation_type: ActivationType = "QUInt8"
    weight_type: WeightType = "QInt8"
    per_channel: bool | None = None
    reduce_range: bool | None = None
    op_types_to_quantize: tuple[str, ...] = ()
    nodes_to_quantize: tuple[str, ...] = ()
    nodes_to_exclude: tuple[str, ...] = ()
    extra_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeStatic(Integers):
    """Store weights and activations as 8-bit integers, from the ranges seen in real data.

    The first choice for convolutions. For a transformer `quantize_dynamic` keeps more.
    """

    data: DataName
    """The entry of ``data:`` that yields representative inputs, each with its batch axis. Where `dims` allows sizes that
    they lack, some are repeated or cut to those, since ranges depend on sizes."""

    quant_format: Literal["QDQ", "QOperator"] = "QDQ"
    """``QDQ`` puts QuantizeLinear and DequantizeLinear around operators, which every runtime reads;
    ``QOperator`` has quantized operators."""

    runtime: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    """For which runtime the graph is laid out. ``tensorrt`` and its like take signed integers around 0, a pair of
    nodes for each reader of a value, and biases in floats. What `extra_options` say goes before."""

    activation_type: ActivationType | None = None
    """Integer type of the activations. Left out: ``QUInt8``, which onnxruntime's CPU kernels want on x86 (on ARM it is
    ``QInt8``); for ``tensorrt`` ``QInt8``."""

    weight_type: WeightType = "QInt8"
    """Integer type of the weights. 16 and 4 bits need opset 21, float 8 needs opset 19."""

    per_channel: bool | None = None
    """One scale for each output channel of a weight: better numbers, same speed. Left out: wherever the
    opset can say it, which for ``QDQ`` is from 13 on."""

    reduce_range: bool | None = None
    """Use 7 of the weights' 8 bits, for processors without VNNI, where sums saturate. Left out: as the processor
    that builds needs it."""

    calibrate_method: CalibrateMethod = "minmax"
    """How a range is made of the values seen: their extremes, or without outliers by ``entropy`` or
    ``percentile``; ``distribution`` is for float 8."""

    calibration_providers: tuple[str, ...] = CPU
    """The execution providers on which the values are observed; they must be installed."""

    op_types_to_quantize: tuple[str, ...] = ()
    """Operators to quantize; ``[all]`` that can be. Left out: as the architecture needs it. Of a transformer these are
    matrix products with weights, tables and convolutions; of other networks what keeps them in integers from one
    convolution to the next."""

    nodes_to_quantize: tuple[str, ...] = ()
    """The nodes to quantize, by name, glob or torch module (``encoder.layers.3``); all if left out."""

    nodes_to_exclude: tuple[str, ...] = ()
    """Nodes to leave as they are, chosen likewise."""

    extra_options: Mapping[str, Any] = field(default_factory=dict)
    """The library's ``extra_options``: ``ActivationSymmetric``, ``CalibPercentile``, ``CalibMovingAverage`` …"""

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
        """Become the preparation, the observation of ranges, and the quantization from them."""
        prepared = prepare(model, self.pre_process)
        observed = {"model": prepared, "data": context.data(self.data)}
        if context.sampling is not None:
            observed |= {name: Output(context.sampling, name) for name in ("samples", "shapes")}
        observe = Step(
            label=f"{context.name}: observe activations",
            run="onnxbuild.stages.quantize_static.observe:observe",
            options=self._observing(),
            inputs=observed,
            outputs=("ranges",),
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            # Sums of float32 differ in their last bits between classes of processors.
            machine=True,
            resources=Resources(isolate=True),
        )
        quantize = Step(
            label=f"{context.name}: quantize statically",
            run="onnxbuild.stages.quantize_static.run:quantize",
            # Not the data: the same ranges give the same model, whatever gave them.
            options=self._quantizing(),
            inputs={"model": prepared, "ranges": Output(observe, "ranges")},
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            machine=self.reduce_range is None,
            resources=Resources(isolate=True),
        )
        if self.mode == "all":
            return Output(quantize)
        return spare(
            quantize,
            context,
            target=self.target,
            budget=self.budget,
            ranks=self._ranking(),
            data=context.data(self.data),
        )

    def _ranking(self) -> RankOptions:
        return RankOptions(
            target=Target(),
            seconds=0,
            op_types=self.op_types_to_quantize,
            nodes_to_quantize=self.nodes_to_quantize,
            nodes_to_exclude=self.nodes_to_exclude,
            reduce_range=self.reduce_range,
        )

    def _observing(self) -> ObserveOptions:
        # Options of the quantizer do not reach the ranges, so that changing one runs no data again.
        extra = {k: v for k, v in self.extra_options.items() if k not in QUANTIZER_OPTIONS}
        return ObserveOptions(
            calibrate_method=self.calibrate_method,
            calibration_providers=self.calibration_providers,
            op_types_to_quantize=self.op_types_to_quantize,
            extra_options=extra,
        )

    def _quantizing(self) -> QuantizeOptions:
        extra = {k: v for k, v in self.extra_options.items() if k in QUANTIZER_OPTIONS}
        signed = self.runtime == "tensorrt"
        if signed:
            extra = {**TENSORRT, **extra}
        return QuantizeOptions(
            quant_format=self.quant_format,
            activation_type=self.activation_type or ("QInt8" if signed else "QUInt8"),
            weight_type=self.weight_type,
            per_channel=self.per_channel,
            # Sums of signed activations do not saturate.
            reduce_range=False if signed and self.reduce_range is None else self.reduce_range,
            op_types_to_quantize=self.op_types_to_quantize,
            nodes_to_quantize=self.nodes_to_quantize,
            nodes_to_exclude=self.nodes_to_exclude,
            extra_options=extra,
        )

    def needs_opset(self, earlier: Stage) -> int:
        """Half precision can be quantized by operators of that opset."""
        return HALF_OPSET if earlier.form() == "half" else 0

    def refuses(self, earlier: Stage) -> str:
        """Half precision is quantized by QDQ alone, and what is quantized dynamically not at all."""
        if earlier.form() == "half" and self.quant_format != "QDQ":
            return "quantize first, or use quant_format: QDQ"
        if earlier.form() == "integers":
            return "quantize statically first, and dynamically what that leaves"
        # Slots make another class of this one, which `super()` without names would not know.
        return Integers.refuses(self, earlier)
