"""Types and sizes of what a translation writes, as far as they follow at once.

Exporters infer them when the graph is whole; a translation that branches on a rank wants to know now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir

Sizes: TypeAlias = "list[int | None] | None"

ONLY = {
    "tensor(bool)": ir.DataType.BOOL,
    "tensor(float)": ir.DataType.FLOAT,
    "tensor(int32)": ir.DataType.INT32,
    "tensor(int64)": ir.DataType.INT64,
}
"""Types that some operators give, whatever they take."""


def infer(
    name: str,
    opset: int,
    inputs: Sequence[Any],
    attributes: Mapping[str, Any],
    outputs: Sequence[ir.Value],
) -> None:
    """Set types and shapes of a new node's outputs where they follow from its inputs."""
    dtypes = _infer_dtypes(name, opset, inputs, attributes)
    sizes = _infer_sizes(name, inputs, attributes)
    for number, output in enumerate(outputs):
        kind = dtypes[min(number, len(dtypes) - 1)]
        if kind is not None and output.dtype is None:
            output.type = ir.TensorType(kind)
        if sizes is not None and output.shape is None and (number == 0 or name == "TopK"):
            output.shape = ir.Shape(sizes)


def _infer_dtypes(
    name: str, opset: int, inputs: Sequence[Any], attributes: Mapping[str, Any]
) -> list[ir.DataType | None]:
    """Give the types of the outputs that the operator declares: the last may stand for several."""
    if name == "Cast":
        return [ir.DataType(attributes["to"])]
    if name in {"Constant", "ConstantOfShape"}:
        tensor = attributes.get("value")
        return [None if tensor is None else tensor.dtype]
    schema = onnx.defs.get_schema(name, opset)
    known: dict[str, ir.DataType] = {}
    for number, value in enumerate(inputs):
        if isinstance(value, ir.Value) and value.dtype is not None:
            declared = schema.inputs[min(number, len(schema.inputs) - 1)]
            known.setdefault(declared.type_str, value.dtype)
    return [
        known.get(declared.type_str)
        or (ONLY.get(*declared.types) if len(declared.types) == 1 else None)
        for declared in schema.outputs
    ]


def _sizes_of(value: Any) -> Sizes:
    """Give the sizes of an input; a number of Python's has none."""
    if not isinstance(value, ir.Value):
        return []
    if value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def _infer_sizes(name: str, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Sizes:
    if name == "Constant":
        tensor = attributes.get("value")
        return None if tensor is None else [int(size) for size in tensor.shape]
    sizes = [_sizes_of(value) for value in inputs if value is not None]
    if name in ELEMENTWISE:
        return _broadcast(sizes)
    if name in ALIKE:
        return sizes[0]
    find = FINDERS.get(name)
    return None if find is None or sizes[0] is None else find(sizes, attributes)


def _broadcast(sizes: Sequence[Sizes]) -> Sizes:
    if any(item is None for item in sizes):
        return None
    known = [item for item in sizes if item is not None]
    rank = max(map(len, known))
    rows: list[list[int | None]] = [[*[1] * (rank - len(item)), *item] for item in known]
    result: list[int | None] = []
    for column in zip(*rows, strict=True):
        others = {size for size in column if size != 1}
        result.append(1 if not others else others.pop() if len(others) == 1 else None)
    return result


def _transpose(sizes: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    own = sizes[0] or []
    return [own[axis] for axis in attributes.get("perm", range(len(own))[::-1])]


def _gather(sizes: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    own, index = sizes[0] or [], sizes[1]
    axis = attributes.get("axis", 0)
    return None if index is None else [*own[:axis], *index, *own[axis % len(own) + 1 :]]


def _concat(sizes: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    own = list(sizes[0] or [])
    axis = attributes["axis"]
    parts = [None if item is None else item[axis] for item in sizes]
    own[axis] = None if None in parts else sum(part for part in parts if part is not None)
    return own


def _matmul(sizes: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    del attributes
    left, right = sizes
    if left is None or right is None or min(len(left), len(right)) < 2:  # noqa: PLR2004 - matrices
        return None
    outer = _broadcast([left[:-2], right[:-2]])
    return None if outer is None else [*outer, left[-2], right[-1]]


def _along_axis(sizes: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    own = list(sizes[0] or [])
    own[attributes.get("axis", -1)] = None
    return own


def _shape(sizes: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    del attributes
    return [len(sizes[0] or [])]


def _windows(sizes: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes:
    del attributes
    return [None] * len(sizes[0] or [])


ALIKE = frozenset(
    {
        "Abs", "Cast", "CastLike", "Ceil", "Cos", "CumSum", "Erf", "Exp", "Floor", "Identity", "IsNaN", "Log",
        "LogSoftmax", "Neg", "Not", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus", "Sqrt",
        "Tanh",
    }
)  # fmt: skip
ELEMENTWISE = frozenset(
    {
        "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Or",
        "Pow", "Sub", "Where", "Xor",
    }
)  # fmt: skip
FINDERS: dict[str, Callable[[Sequence[Sizes], Mapping[str, Any]], Sizes]] = {
    "Concat": _concat,
    "Conv": _windows,
    "ConvTranspose": _windows,
    "Gather": _gather,
    "MatMul": _matmul,
    "Pad": _windows,
    "Shape": _shape,
    "Slice": _windows,
    "TopK": _along_axis,
    "Transpose": _transpose,
}
