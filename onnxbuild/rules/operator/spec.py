"""The rule ``operator``: what a recipe may say. The work is in `onnxbuild.rules.operator.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from onnxbuild.recipe.rule import Level, Rule
from onnxbuild.recipe.schema import Entry, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator(Rule):
    """Translate an operator, of torch's or your own, by a function that builds ONNX nodes.

    One function serves both exporters. ``function(op, x, alpha=1.0)`` gets a builder and the operator's arguments,
    tensors as values of the graph and the rest as Python has it, and returns the value (or several) that stands for
    the result: ``return op.Mul(x, op.Sigmoid(op.Mul(x, alpha)))``. An onnxscript function without the first
    parameter does as well. A call of the operator with an argument that the function does not take is an error,
    unless the argument is the operator's own default.
    """

    level: ClassVar[Level] = "operator"
    run: ClassVar[str] = "onnxbuild.rules.operator.run:apply"

    operator: Annotated[str, Limits(pattern=r"^\w+(::|\.)\w+(\.\w+)?$")]
    """The operator: ``mylib::fast_gelu``, ``aten::roll``, or one overload alone: ``aten.roll.default``."""

    with_: Entry
    """The function that gives its nodes."""
