"""The builder that translations of operators write ONNX nodes with, the same for both exporters.

A translation is called as ``translation(op, *arguments)``. Tensors come as values of the graph, which can be added,
multiplied and compared like Python's numbers; sizes that are not known are values too, and everything else is
as Python has it. ``op.Name(...)`` adds a node of the opset that is exported to; the methods with small letters
hide what differs between opsets.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
import onnxscript
from onnxscript import evaluator
from onnxscript.values import Op, Opset
from torch.onnx._internal.exporter._tensors import SymbolicTensor

from onnxbuild.errors import ExportError
from onnxbuild.rules.inferring import infer

Size: TypeAlias = "int | ir.Value"
"""A size: a number, or a value with one number in it."""

DTYPES = {"float": ir.DataType.FLOAT, "int": ir.DataType.INT64, "bool": ir.DataType.BOOL}
"""What Python's numbers become where nothing else decides."""


class Builder:
    """Adds nodes to the graph that is being exported."""

    def __init__(self, opset: int, exporter: str) -> None:
        self.opset = opset
        """The opset that the graph will have."""
        self.exporter = exporter
        """``dynamo`` or ``torchscript``."""
        self._opset = Opset("", opset)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Give the operator of that name. Raises `ExportError` where the opset has none."""
        if name.startswith("_"):
            raise AttributeError(name)
        check_operator(name, self.opset)
        operator = Op(self._opset, name)

        def add(*inputs: Any, **attributes: Any) -> Any:
            made = operator(*inputs, **attributes)
            infer(name, inputs, attributes, [made] if isinstance(made, ir.Value) else list(made))
            return made

        return add

    def has(self, name: str) -> bool:
        """True if the opset has the operator."""
        return bool(onnx.defs.has(name, self.opset))

    def custom(
        self, domain: str, name: str, *inputs: Any, outputs: int = 1, **attributes: Any
    ) -> Any:
        """Add a node of another domain, ``com.microsoft`` say; its inputs are values or None."""
        made = [SymbolicTensor(self._opset) for _ in range(outputs)]
        node = ir.Node(
            domain,
            name,
            inputs,
            ir.convenience.convert_attributes(attributes),
            outputs=made,
            version=1,
        )
        evaluator.default().nodes.append(node)
        return made[0] if outputs == 1 else made

    # Constants and what is known of values

    def constant(self, value: Any, dtype: ir.DataType | None = None) -> ir.Value:
        """Add a constant: an array, a number or a list; float, int64 or bool where `dtype` is left out."""
        if isinstance(value, np.ndarray):
            dtype = dtype or ir.DataType.from_numpy(value.dtype)
        else:
            first = np.asarray(value)
            kind = {"f": "float", "b": "bool"}.get(first.dtype.kind, "int")
            dtype = dtype or DTYPES[kind]
            value = first
        return self.Constant(value=ir.tensor(np.asarray(value, dtype.numpy()), dtype=dtype))

    def like(self, value: float, other: ir.Value) -> ir.Value:
        """Add a scalar of the type of `other`."""
        if other.dtype is not None:
            return self.constant(value, other.dtype)
        if self.opset < 15:  # noqa: PLR2004 - which has CastLike
            raise ExportError("the type of a value is not known", where="replace")
        return self.CastLike(self.constant(float(value)), other)

    def rank(self, value: ir.Value) -> int:
        """Give the number of dimensions. Raises `ExportError` where it is not known."""
        if value.shape is None:
            raise ExportError("the rank of a value is not known", where="replace")
        return len(value.shape)

    def sizes(self, value: ir.Value) -> list[int | None]:
        """Give the sizes that are known, None for the others."""
        self.rank(value)
        assert value.shape is not None  # noqa: S101 - `rank` has looked
        return [size if isinstance(size, int) else None for size in value.shape]

    def size(self, value: ir.Value, axis: int) -> Size:
        """Give one size: a number if it is known, else a value of shape [1]."""
        axis %= self.rank(value)
        known = self.sizes(value)[axis]
        if known is not None:
            return known
        return self.slice(self.Shape(value), [axis], [axis + 1], [0])

    def ints(self, sizes: Sequence[Any]) -> ir.Value:
        """Make an int64 vector of numbers and values."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(np.array(sizes, np.int64))
        parts = [
            self.constant(np.array([size], np.int64))
            if isinstance(size, int)
            else _shaped(
                self.Reshape(self.as_int(size), self.constant(np.array([1], np.int64))), [1]
            )
            for size in sizes
        ]
        return parts[0] if len(parts) == 1 else self.Concat(*parts, axis=0)

    def product(self, sizes: Sequence[Any]) -> Size:
        """Multiply sizes, numbers and values."""
        result: Any = 1
        for size in sizes:
            if isinstance(result, int) and isinstance(size, int):
                result *= size
            else:
                result = self.Mul(self.ints([result]), self.ints([size]))
        return result

    def as_int(self, value: Any) -> ir.Value:
        """Give a number or value as int64."""
        if not isinstance(value, ir.Value):
            return self.constant(int(value), ir.DataType.INT64)
        return value if value.dtype == ir.DataType.INT64 else self.cast(value, ir.DataType.INT64)

    def dtype(self, argument: Any) -> ir.DataType:
        """Read an argument of the operator that is a type: each exporter has numbers of its own for them."""
        if self.exporter == "dynamo":
            return ir.DataType(argument)
        from torch.onnx._internal.torchscript_exporter._type_utils import JitScalarType

        return ir.DataType(int(JitScalarType(argument).onnx_type()))

    # What differs between opsets

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Convert to a type."""
        return value if value.dtype == dtype else self.Cast(value, to=int(dtype))

    def reshape(self, value: ir.Value, sizes: Sequence[Any]) -> ir.Value:
        """Give a value another shape, of numbers and values; -1 is what is left."""
        made = self.Reshape(value, self.ints(sizes))
        known = [size if isinstance(size, int) and size > 0 else None for size in sizes]
        return _shaped(made, known)

    def expand(self, value: ir.Value, sizes: Sequence[Any]) -> ir.Value:
        """Repeat axes of size 1, and add axes in front; a size of 1 leaves an axis as it is."""
        made = self.Expand(value, self.ints(sizes))
        own = self.sizes(value)
        rank = max(len(own), len(sizes))
        old = [*[1] * (rank - len(own)), *own]
        new = [*[1] * (rank - len(sizes)), *sizes]
        known = [b if a == 1 else a for a, b in zip(old, new, strict=True)]
        return _shaped(made, [size if isinstance(size, int) else None for size in known])

    def unsqueeze(self, value: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Add axes of size 1."""
        if self.opset < 13:  # noqa: PLR2004 - which takes axes as an input
            made = self.Unsqueeze(value, axes=list(axes))
        else:
            made = self.Unsqueeze(value, self.ints(axes))
        if value.shape is None:
            return made
        known = self.sizes(value)
        for axis in sorted(axes):
            known.insert(axis, 1)
        return _shaped(made, known)

    def squeeze(self, value: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Take out axes of size 1."""
        if self.opset < 13:  # noqa: PLR2004 - which takes axes as an input
            made = self.Squeeze(value, axes=list(axes))
        else:
            made = self.Squeeze(value, self.ints(axes))
        if value.shape is None:
            return made
        gone = {axis % len(value.shape) for axis in axes}
        kept = enumerate(self.sizes(value))
        return _shaped(made, [size for axis, size in kept if axis not in gone])

    def reduce(
        self, name: str, value: ir.Value, axes: Sequence[int], *, keepdims: bool = False
    ) -> ir.Value:
        """Reduce over axes: ``op.reduce("ReduceMean", x, [-1])``."""
        since = 13 if name == "ReduceSum" else 18
        operator = getattr(self, name)
        if self.opset < since:
            made = operator(value, axes=list(axes), keepdims=int(keepdims))
        else:
            made = operator(value, self.ints(axes), keepdims=int(keepdims))
        if value.shape is None:
            return made
        gone = {axis % len(value.shape) for axis in axes}
        kept = [
            1 if axis in gone else size
            for axis, size in enumerate(self.sizes(value))
            if keepdims or axis not in gone
        ]
        return _shaped(made, kept)

    def slice(
        self,
        value: ir.Value,
        starts: Sequence[Any],
        ends: Sequence[Any],
        axes: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> ir.Value:
        """Cut out a part; starts and ends are numbers or values."""
        numbers = all(isinstance(item, int) for item in (*starts, *ends))
        if self.opset < 10:  # noqa: PLR2004 - which takes them as inputs
            if not numbers or (steps and set(steps) != {1}):
                raise ExportError(
                    f"opset {self.opset} slices at fixed places only",
                    where="export.opset",
                    hint="say `opset: 10` or more",
                )
            return self.Slice(value, starts=list(starts), ends=list(ends), axes=list(axes))
        inputs = [self.ints(starts), self.ints(ends), self.ints(axes)]
        return self.Slice(value, *inputs, *([] if steps is None else [self.ints(steps)]))

    def pad(self, value: ir.Value, pads: Sequence[Any], fill: float = 0.0) -> ir.Value:
        """Pad with a constant; `pads` as ONNX has it: all begins, then all ends."""
        if self.opset < 11:  # noqa: PLR2004 - which takes them as inputs
            return self.Pad(value, pads=list(pads), value=fill)
        return self.Pad(value, self.ints(pads), self.like(fill, value))

    def clip(self, value: ir.Value, low: float, high: float) -> ir.Value:
        """Keep values within bounds."""
        return self.Max(self.Min(value, self.like(high, value)), self.like(low, value))

    def arange(self, end: Any) -> ir.Value:
        """Give 0, 1, … up to a size, as int64."""
        if isinstance(end, int):
            return self.constant(np.arange(end, dtype=np.int64))
        stop = self.Reshape(self.as_int(end), self.constant(np.array([1], np.int64)))
        if self.opset >= 11:  # noqa: PLR2004 - which has Range
            zero, one = self.constant(0), self.constant(1)
            return _shaped(self.Range(zero, self.squeeze(stop, [0]), one), [None])
        ones = self.ConstantOfShape(stop, value=ir.tensor(np.array([1], np.int64)))
        return self.squeeze(_shaped(self.NonZero(ones), [1, None]), [0])

    def smallest(self, value: ir.Value, count: Any, axis: int) -> tuple[ir.Value, ir.Value]:
        """Give the smallest values along an axis, in order, and where they stand."""
        if self.opset < 10:  # noqa: PLR2004 - which takes the count as an input
            if not isinstance(count, int):
                raise ExportError(
                    f"opset {self.opset} orders a fixed number of values only",
                    where="export.opset",
                    hint="say `opset: 10` or more",
                )
            values, places = self.TopK(self.Neg(value), axis=axis, k=count)
            return self.Neg(values), places
        if self.opset < 11:  # noqa: PLR2004 - which can take the smallest
            values, places = self.TopK(self.Neg(value), self.ints([count]), axis=axis)
            return self.Neg(values), places
        values, places = self.TopK(value, self.ints([count]), axis=axis, largest=0)
        return values, places

    def where(self, condition: ir.Value, value: Any, other: Any) -> ir.Value:
        """Choose by a condition; of two numbers and values, one at least is a value."""
        if not isinstance(value, ir.Value):
            value = self.like(value, other)
        if not isinstance(other, ir.Value):
            other = self.like(other, value)
        return self.Where(condition, value, other)


def _shaped(value: ir.Value, sizes: Sequence[int | None]) -> ir.Value:
    if value.shape is None:
        value.shape = ir.Shape(sizes)
    return value


def check_operator(name: str, opset: int) -> None:
    """Raise `ExportError` where an opset has no operator of that name."""
    if onnx.defs.has(name, opset):
        return
    if onnx.defs.has(name):
        since = min(
            schema.since_version
            for schema in onnx.defs.get_all_schemas_with_history()
            if schema.name == name and not schema.domain
        )
        raise ExportError(
            f"opset {opset} has no {name}; it came with opset {since}",
            where="export.opset",
            hint=f"say `opset: {since}` or more, or build it from other operators",
        )
    raise ExportError(f"ONNX has no operator {name}", where="replace")


def takes_builder(function: Any) -> bool:
    """True if a translation wants the builder as its first argument: that is named ``op``."""
    if isinstance(function, onnxscript.OnnxFunction):
        return False
    first = next(iter(inspect.signature(function).parameters), "")
    return first == "op"
