"""The base of every stage: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
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
