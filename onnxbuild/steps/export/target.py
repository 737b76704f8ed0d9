"""What an exported graph must be: read from the recipe and from what the model really gave."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.arrays import read_item, read_items
from onnxbuild.core.ports import Work
from onnxbuild.errors import ExportError
from onnxbuild.recipe import dimensions
from onnxbuild.steps.export.spec import ExportOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One input or output of the graph."""

    name: str
    dtype: ir.DataType
    dims: tuple[int | str | None, ...]
    """A size; the name of a dynamic dimension, or an expression of some; None for a size that varies and that the recipe does not name."""


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


def _ranks_differ(
    name: str, found: Sequence[tuple[int, ...]], sizes: Sequence[Mapping[str, int]]
) -> ExportError:
    """Say at which sizes an output has how many dimensions."""
    first: dict[int, str] = {}
    for shape, given in zip(found, sizes, strict=True):
        at = ", ".join(f"{dim} {size}" for dim, size in given.items())
        first.setdefault(len(shape), f"{'x'.join(map(str, shape)) or 'a scalar'} at {at}")
    return ExportError(
        f"the output {name!r} has another number of dimensions at other sizes: {'; '.join(first.values())}",
        where="outputs",
        hint="ONNX outputs have one rank: say which axis goes, `squeeze(1)` rather than `squeeze()`; or narrow `dims`,"
        " `min: 2`",
    )


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
    written = {dim for port in inputs for dim in port.dims if isinstance(dim, str)}
    free = written | set(dimensions.names(written))
    sizes = [{key: int(size) for key, size in shape["sizes"].items()} for shape in shapes]
    ports = []
    for name, found in seen.items():
        ranks = {len(shape) for shape in found}
        if len(ranks) > 1:
            raise _ranks_differ(name, found, sizes)
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
    unknown = [name for name in dimensions.names([dim]) if name not in free]
    if unknown and dimensions.read(dim).is_name:
        return
    if unknown:
        raise ExportError(
            f"axis {axis} of the output {name!r} is declared {dim!r}, and no input has a dimension {unknown[0]!r}",
            where=f"dynamic_axes.{name}",
            hint=f"there are: {', '.join(sorted(free))}",
        )
    for size, at in zip(column, sizes, strict=False):
        wanted = _size(dim, at)
        if wanted is not None and wanted != size:
            told = ", ".join(f"{part} is {at[part]}" for part in dimensions.names([dim]))
            raise ExportError(
                f"axis {axis} of the output {name!r} is declared {dim!r}, but the model gives {size} there "
                f"where {told}",
                where=f"dynamic_axes.{name}",
                hint="give that axis a name of its own, or leave it out",
            )


def _size(dim: str, sizes: Mapping[str, int]) -> int | None:
    """Evaluate a dimension; None where it has no size for these."""
    try:
        return dimensions.size(dim, sizes)
    except (KeyError, ZeroDivisionError):
        return None


def _name_axis(
    column: Sequence[int], sizes: Sequence[Mapping[str, int]], free: set[str]
) -> int | str | None:
    """Name an output axis that the recipe does not: by its constant size, the dimension that it follows, or a multiple."""
    if len(set(column)) == 1:
        return column[0]
    # Single dimensions first; then what inputs follow from several; then sums of two, as a cache grows.
    single = sorted(dim for dim in free if dimensions.read(dim).is_name)
    sums = [f"{one} + {other}" for one, other in itertools.combinations(single, 2)]
    for dim in dict.fromkeys((*single, *sorted(free), *sums)):
        if all(_size(dim, at) == size for size, at in zip(column, sizes, strict=False)):
            return dim
    for dim in single:
        factors = {size / at[dim] for size, at in zip(column, sizes, strict=False) if at.get(dim)}
        if len(factors) == 1 and (factor := factors.pop()).is_integer():
            return f"{factor:.0f}*{dim}"
    return None
