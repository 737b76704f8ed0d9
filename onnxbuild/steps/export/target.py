"""What an exported graph must be: read from the recipe and from what the model really gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.arrays import read_item, read_items
from onnxbuild.core.ports import Work
from onnxbuild.errors import ExportError
from onnxbuild.steps.export.spec import ExportOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One input or output of the graph."""

    name: str
    dtype: ir.DataType
    dims: tuple[int | str | None, ...]
    """A size; the name of a dynamic dimension; None for a size that varies and that the recipe does not name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the recipe asks of the graph, and the sizes at which it was traced and is tried."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    shapes: tuple[Mapping[str, Any], ...]
    """For each sample its name and the sizes of the dynamic dimensions; the traced one first."""
    multiples: Mapping[str, int] = field(default_factory=dict)
    """By dimension, of what its sizes are multiples; 1 where it is not there."""

    def axes(self, name: str) -> dict[int, str]:
        """Give the dynamic axes of an input or output, by axis."""
        port = next(port for port in (*self.inputs, *self.outputs) if port.name == name)
        return {axis: dim for axis, dim in enumerate(port.dims) if isinstance(dim, str)}


def read_target(work: Work, options: ExportOptions) -> Target:
    """Read what the graph must be from the options and from the step's inputs.

    Raises `ExportError` where ``dynamic_axes`` says what cannot be.
    """
    trace = read_item(work.input("samples"), 0)
    shapes = tuple(work.json("shapes"))
    names = tuple(options.inputs) or tuple(trace)
    inputs = tuple(_input_port(name, trace[name], options) for name in names)
    outputs = _output_ports(work.input("reference"), shapes, options, inputs)
    return Target(
        inputs=inputs,
        outputs=outputs,
        shapes=shapes,
        multiples={name: dim.multiple_of for name, dim in options.dims.items()},
    )


def _input_port(name: str, array: np.ndarray[Any, Any], options: ExportOptions) -> Port:
    declared = _declared(name, array.ndim, options)
    if name in options.inputs:
        shape = options.inputs[name].shape
        declared = {axis: dim for axis, dim in enumerate(shape) if isinstance(dim, str)} | declared
    dims = tuple(declared.get(axis, size) for axis, size in enumerate(array.shape))
    return Port(name=name, dtype=ir.DataType.from_numpy(array.dtype), dims=dims)


def _output_ports(
    path: str,
    shapes: Sequence[Mapping[str, Any]],
    options: ExportOptions,
    inputs: Sequence[Port],
) -> tuple[Port, ...]:
    seen: dict[str, list[tuple[int, ...]]] = {}
    dtypes: dict[str, ir.DataType] = {}
    for item in read_items(path):
        for name, array in item.items():
            seen.setdefault(name, []).append(array.shape)
            dtypes[name] = ir.DataType.from_numpy(array.dtype)
    free = {dim for port in inputs for dim in port.dims if isinstance(dim, str)}
    sizes = [{key: int(size) for key, size in shape["sizes"].items()} for shape in shapes]
    ports = []
    for name, found in seen.items():
        ranks = {len(shape) for shape in found}
        if len(ranks) > 1:
            raise ExportError(
                f"the output {name!r} has another number of dimensions at other sizes: "
                f"{', '.join(map(str, sorted(ranks)))}",
                where="outputs",
                hint="ONNX outputs have one rank; narrow `dims`, or change the model",
            )
        declared = _declared(name, ranks.pop(), options)
        dims = []
        for axis, column in enumerate(zip(*found, strict=True)):
            if axis in declared:
                _check_claim(name, axis, declared[axis], column, sizes, free)
            dims.append(declared.get(axis) or _name_axis(column, sizes, free))
        ports.append(Port(name=name, dtype=dtypes[name], dims=tuple(dims)))
    unknown = set(options.dynamic_axes) - {port.name for port in (*inputs, *ports)}
    if unknown:
        raise ExportError(
            f"`dynamic_axes` names {', '.join(sorted(unknown))}, which is neither input nor output",
            where="dynamic_axes",
            hint=f"there are: {', '.join(port.name for port in (*inputs, *ports))}",
        )
    return tuple(ports)


def _declared(name: str, rank: int, options: ExportOptions) -> dict[int, str]:
    declared: dict[int, str] = {}
    for text, dim in options.dynamic_axes.get(name, {}).items():
        axis = int(text)
        if not -rank <= axis < rank:
            raise ExportError(
                f"{name!r} has {rank} dimensions, so there is no axis {axis}",
                where=f"dynamic_axes.{name}",
            )
        declared[axis % rank] = dim
    return declared


def _check_claim(
    name: str,
    axis: int,
    dim: str,
    column: Sequence[int],
    sizes: Sequence[Mapping[str, int]],
    free: set[str],
) -> None:
    """Refuse an output axis that is named like an input's dimension and has other sizes."""
    if dim not in free:
        return
    for size, at in zip(column, sizes, strict=False):
        if at.get(dim, size) != size:
            raise ExportError(
                f"axis {axis} of the output {name!r} is declared {dim!r}, but the model gives {size} there "
                f"where {dim} is {at[dim]}",
                where=f"dynamic_axes.{name}",
                hint="give that axis a name of its own, or leave it out",
            )


def _name_axis(
    column: Sequence[int], sizes: Sequence[Mapping[str, int]], free: set[str]
) -> int | str | None:
    """Name an output axis that the recipe does not: by its constant size, the dimension that it follows, or a multiple."""
    if len(set(column)) == 1:
        return column[0]
    follows = [
        dim
        for dim in sorted(free)
        if all(at.get(dim) == size for size, at in zip(column, sizes, strict=False))
    ]
    if follows:
        return follows[0]
    for dim in sorted(free):
        factors = {size / at[dim] for size, at in zip(column, sizes, strict=False) if at.get(dim)}
        if len(factors) == 1 and (factor := factors.pop()).is_integer():
            return f"{factor:.0f}*{dim}"
    return None
