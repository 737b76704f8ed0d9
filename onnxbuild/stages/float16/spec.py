"""The ``float16`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Limits, Tolerance
from onnxbuild.recipe.stage import Form, Precision, Stage, StageContext
from onnxbuild.recipe.tolerances import find_tolerance

LIBRARIES = ("onnx", "onnx-ir", "onnxruntime", "numpy", "ml_dtypes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Float16(Stage):
    """Store weights and compute in half precision: half the size, for hardware that has it.

    What half precision cannot hold stays float32 and is named in the notes: constants, and what the
    model computes at the recipe's samples. So does what computes the scores of a choice alone: a router, the
    distances of neighbours. Only what stands for infinity (from 1e30 on, or a large negative
    number that a softmax makes nothing of) is cut to the limit.
    """

    precision: ClassVar[Precision | None] = "fp16"

    dtype: Literal["float16", "bfloat16"] = "float16"
    """The half precision. ``bfloat16`` has float32's range and less than three digits; onnxruntime's CPU provider does
    not compute in it, so that it is verified by rounding each result."""

    mode: Literal["all", "mixed"] = "all"
    """``all`` computes whatever it can in half precision; ``mixed`` searches for the fewest nodes that must stay
    float32 for the numbers to be as near to PyTorch's as `verify` asks."""

    keep_io_types: bool | tuple[str, ...] | None = None
    """Leave inputs and outputs in float32: all of them, none, or those named. Left out: inputs that half precision
    cannot hold, or whose last digits decide: points whose nearest are looked for."""

    max_finite_val: Annotated[float, Limits(minimum=0, maximum=65504)] = 65504.0
    """The largest value that counts as one that ``float16`` can hold. Results may be a quarter of it at the samples:
    other inputs give larger ones."""

    op_block_list: tuple[str, ...] = ()
    """Operators that stay in float32, besides those that have no half precision."""

    node_block_list: tuple[str, ...] = ()
    """Nodes that stay in float32: names, globs, or the path of a torch module for all that is in it."""

    check_fp16_ready: bool = True
    """Refuse a model that has half precision already."""

    max_trials: Annotated[int, Limits(minimum=1)] = 48
    """How many conversions ``mode: mixed`` may try. What is not told apart by then stays float32 together."""

    def find_precision(self) -> Precision:
        """Give which of the two half precisions it is."""
        return "bf16" if self.dtype == "bfloat16" else "fp16"

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step; with ``mode: mixed`` one that may become more."""
        inputs = {"model": model}
        if context.sampling is not None:
            inputs |= {name: Output(context.sampling, name) for name in ("samples", "shapes")}
        if self.mode == "mixed" and context.reference is not None:
            return self._search(inputs, context, context.reference)
        step = Step(
            label=f"{context.name}: {self.dtype}",
            run="onnxbuild.stages.float16.run:convert",
            options=self,
            inputs=inputs,
            libraries=LIBRARIES,
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

    def _search(
        self, inputs: Mapping[str, Output], context: StageContext, reference: Output
    ) -> Output:
        observe = Step(
            label=f"{context.name}: observe",
            run="onnxbuild.stages.float16.observing:observe",
            options=self,
            inputs=inputs,
            outputs=("ranges",),
            libraries=LIBRARIES,
            resources=Resources(isolate=True),
        )
        verify = context.recipe.verify_of(context.name)
        precision = self.find_precision()
        search = Step(
            label=f"{context.name}: search for what stays float32",
            run="onnxbuild.stages.float16.mixed:search",
            options=MixedOptions(
                stage=self,
                tolerance=find_tolerance(verify, "", precision)[0],
                outputs={
                    name: find_tolerance(verify, name, precision)[0] for name in verify.outputs
                },
            ),
            inputs={**inputs, "reference": reference, "ranges": Output(observe, "ranges")},
            libraries=LIBRARIES,
            may_grow=True,
            resources=Resources(isolate=True),
        )
        return Output(search)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the nodes that may become half precision, in the order of the graph."""

    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One trial: which nodes were added to those in half precision, and what came of it."""

    first: int
    end: int
    excess: float
    """The largest error over what is allowed; it passes up to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOptions:
    """Which nodes a trial converts."""

    stage: Float16 = field(default_factory=Float16)
    """The stage's options."""

    halves: tuple[str, ...] = ()
    """Names of the nodes that become half precision."""

    tried: tuple[Tried, ...] = ()
    """What has led there, for the notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedOptions:
    """What the search for the fewest float32 nodes goes by, and how far it is."""

    stage: Float16 = field(default_factory=Float16)
    """The stage's options."""

    tolerance: Tolerance = field(default_factory=Tolerance)
    """How far outputs may be from PyTorch's."""

    outputs: Mapping[str, Tolerance] = field(default_factory=dict)
    """The same for single outputs."""

    accepted: tuple[Part, ...] = ()
    """What has passed."""

    pending: tuple[Part, ...] = ()
    """What is to be tried, the last first."""

    tried: tuple[Tried, ...] = ()
    """All trials so far."""
