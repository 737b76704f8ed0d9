"""The base of every stage: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from onnxbuild.core.step import Output, Step
    from onnxbuild.recipe.schema import Recipe

Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What a stage may know of the recipe around it."""

    name: str
    """The stage's name in the recipe, for labels."""

    recipe: Recipe
    """The whole recipe."""

    data: Callable[[str], Output]
    """Gives the collected ``arrays`` output of an entry of ``data:``, by name."""

    sampling: Step | None = None
    """The step whose outputs are the recipe's ``samples`` and, by name and size, their ``shapes``. None where a stage
    stands alone."""

    reference: Output | None = None
    """What PyTorch makes of the samples."""


Form: TypeAlias = Literal["", "half", "integers", "blocks", "fused", "layout"]
"""What a stage makes of a graph, as far as others must know: half precision, integer weights and activations, blocks
of integer weights, fused operators, operators laid out for one class of processor."""

MIX = (
    "name what is left for it, `op_types_to_quantize: [MatMul]`, and what is not for the one before;"
    " else let it start from another stage (`from:`)"
)
"""What to do where one quantization follows another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One lightweighting step of a recipe: `apply` says which steps it becomes."""

    precision: ClassVar[Precision | None] = None
    """What the stage makes of the model's numbers; None leaves them as they are."""

    def find_precision(self) -> Precision | None:
        """Give the precision; a stage whose options decide that overrides this."""
        return self.precision

    @abstractmethod
    def apply(self, model: Output, context: StageContext) -> Output:
        """Give the output that stands for `model` after this stage. Pure: imports no library."""

    def fixes(self) -> Mapping[str, int]:
        """Give the dynamic dimensions that have one size from this stage on."""
        return {}

    def form(self) -> Form:
        """Say what a graph is after this stage; empty where it stays what it was."""
        return ""

    def is_partial(self) -> bool:
        """True where the recipe names what the stage works on, so that it may leave work for another."""
        return False

    def files(self, made: Output) -> Mapping[str, Output]:  # noqa: ARG002 - for those that publish others
        """Give what is published in place of ``model.onnx``, by file name; `made` is what `apply` gave.

        Outputs of kind ``model`` are ONNX files that chained are the model, in the order of their names' numbers;
        one of kind ``file`` is the model itself. Only of stages that come last.
        """
        return {}

    def is_last(self) -> bool:
        """True where no stage can start from this one: what it publishes is no single ONNX file."""
        return False

    def needs_opset(self, earlier: Stage) -> int:  # noqa: ARG002 - for those that can at any
        """Give the opset from which this stage can come after `earlier`; 0 where at any."""
        return 0

    def contradicts(self) -> str:
        """Say what to do about options that contradict one another: empty where none do."""
        return ""

    def refuses(self, earlier: Stage) -> str:  # noqa: ARG002 - for those that can come after all
        """Say which order is right, where this stage cannot come after `earlier`: empty where it can."""
        return ""


class Integers(Stage):
    """A stage that makes 8-bit integers of weights and activations: all, or those that the recipe names."""

    __slots__ = ()

    precision: ClassVar[Precision | None] = "int8"
    op_types_to_quantize: tuple[str, ...]
    nodes_to_quantize: tuple[str, ...]
    nodes_to_exclude: tuple[str, ...]

    def form(self) -> Form:
        """Integers."""
        return "integers"

    def is_partial(self) -> bool:
        """True where operators or nodes are named."""
        return bool(self.op_types_to_quantize or self.nodes_to_quantize or self.nodes_to_exclude)

    def refuses(self, earlier: Stage) -> str:
        """What is fused or laid out already is not quantized; what is integers already only where each names its part."""
        if earlier.form() in {"fused", "layout"}:
            return "quantize first, and fuse after"
        if earlier.form() in {"integers", "blocks"} and not (
            self.is_partial() and (earlier.is_partial() or earlier.form() == "blocks")
        ):
            return MIX
        return ""
