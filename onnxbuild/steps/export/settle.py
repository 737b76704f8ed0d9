"""Give a freshly exported graph the recipe's names, and hold it against what was asked (law 11)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.graph.load import model_graphs
from onnxbuild.steps.export.target import Port, Target

CACHE = "past_key_values."
CACHE_HINT = "if no cache is wanted, leave it out: name the other outputs, `outputs: [logits]`, or say `use_cache=False`"


def settle(model: ir.Model, target: Target, opset: int | None) -> None:
    """Rename dimensions as declared, and check opset, names, types and dynamic axes.

    Raises `ExportError` for the first thing that is not as asked.
    """
    check_opset(model, opset)
    _restore_unused(model, target)
    _check_names("input", [value.name for value in model.graph.inputs], target.inputs)
    _check_names("output", [value.name for value in model.graph.outputs], target.outputs)
    rename_symbols(model, find_symbols(model.graph.inputs, target.inputs))
    for value, port in zip(model.graph.inputs, target.inputs, strict=True):
        _check_dtype("input", value, port)
        _check_input_dims(value, port)
        value.shape = ir.Shape(port.dims)
    for value, port in zip(model.graph.outputs, target.outputs, strict=True):
        _check_dtype("output", value, port)
        value.shape = ir.Shape(_output_dims(value, port))


def check_opset(model: ir.Model, opset: int | None) -> None:
    """Raise `ExportError` when the graph has another opset than the one asked for."""
    found = model.opset_imports.get("")
    if opset is not None and found != opset:
        raise ExportError(
            f"opset {opset} was asked for, and the graph has {found}",
            where="export.opset",
            hint="`onnxbuild opsets` says what each exporter writes",
        )


def _restore_unused(model: ir.Model, target: Target) -> None:
    """Put back inputs that the exporter dropped because the model does not use them."""
    found = {value.name: value for value in model.graph.inputs}
    names = [port.name for port in target.inputs]
    if set(found) < set(names):
        for port in target.inputs:
            if port.name not in found:
                found[port.name] = ir.Value(
                    name=port.name, type=ir.TensorType(port.dtype), shape=ir.Shape(port.dims)
                )
        model.graph.inputs.clear()
        model.graph.inputs.extend(found[name] for name in names)


def _check_names(kind: str, found: list[str | None], ports: tuple[Port, ...]) -> None:
    names = [port.name for port in ports]
    if found != names:
        raise ExportError(
            f"the graph's {kind}s are {', '.join(map(str, found))}; asked for: {', '.join(names)}",
            where=f"{kind}s",
        )


def _check_dtype(kind: str, value: ir.Value, port: Port) -> None:
    if value.dtype != port.dtype:
        raise ExportError(
            f"the {kind} {port.name!r} is {value.dtype} in the graph; it should be {port.dtype}",
            where=f"{kind}s.{port.name}",
        )


def _check_input_dims(value: ir.Value, port: Port) -> None:
    found = [] if value.shape is None else list(value.shape.dims)
    if len(found) != len(port.dims):
        raise ExportError(
            f"the input {port.name!r} has {len(found)} dimensions in the graph, not {len(port.dims)}",
            where=f"inputs.{port.name}",
        )
    for axis, (size, dim) in enumerate(zip(found, port.dims, strict=True)):
        if isinstance(dim, str) and isinstance(size, int):
            raise ExportError(
                f"axis {axis} of the input {port.name!r} is declared dynamic ({dim}), and came out fixed at "
                f"{size}: the model's code computes with that size as a number",
                where=f"dynamic_axes.{port.name}",
                hint=f"look for a size of {size} in a reshape, a comparison or int(); or drop the axis",
            )
        if isinstance(dim, int) and size != dim:
            raise ExportError(
                f"axis {axis} of the input {port.name!r} is not declared dynamic, and came out as {size}",
                where=f"dynamic_axes.{port.name}",
            )


def _output_dims(value: ir.Value, port: Port) -> list[int | str | None]:
    """Give an output's dimensions: as asked, and where nothing is, as the model's real outputs were."""
    found = [None] * len(port.dims) if value.shape is None else list(value.shape.dims)
    if len(found) != len(port.dims):
        raise ExportError(
            f"the output {port.name!r} has {len(found)} dimensions in the graph, and PyTorch's {len(port.dims)}",
            where=f"outputs.{port.name}",
        )
    dims: list[int | str | None] = []
    for axis, (size, dim) in enumerate(zip(found, port.dims, strict=True)):
        if dim is not None:
            dims.append(dim)
            continue
        if isinstance(size, int):
            raise ExportError(
                f"axis {axis} of the output {port.name!r} varies with the inputs' sizes in PyTorch, and came "
                f"out fixed at {size}",
                where=f"outputs.{port.name}",
                hint=CACHE_HINT if port.name.startswith(CACHE) else "",
            )
        symbol = None if size is None else size.value
        dims.append(symbol or f"{port.name}_dim_{axis}")
    return dims


def find_symbols(values: Iterable[ir.Value], ports: Iterable[Port]) -> dict[str, str]:
    """Map the exporter's names of dimensions to the declared ones."""
    symbols: dict[str, str] = {}
    for value, port in zip(values, ports, strict=True):
        for size, dim in zip(() if value.shape is None else value.shape, port.dims, strict=False):
            if isinstance(dim, str) and isinstance(size, ir.SymbolicDim) and size.value:
                symbols.setdefault(size.value, dim)
    return symbols


def _inside(dim: str) -> str:
    """Write what stands for a symbol inside of an expression."""
    return dim if re.fullmatch(r"\w+", dim) else f"({dim})"


def rename_symbols(model: ir.Model, symbols: dict[str, str]) -> None:
    """Rename symbolic dimensions wherever they stand, in expressions too."""
    renamed = {old: new for old, new in symbols.items() if old != new}
    if not renamed:
        return
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, renamed)) + r")(?!\w)")
    for value in _values(model):
        if value.shape is not None and any(isinstance(d, ir.SymbolicDim) for d in value.shape):
            value.shape = ir.Shape(_rename(size, pattern, renamed) for size in value.shape)


def _rename(
    size: int | ir.SymbolicDim, pattern: re.Pattern[str], renamed: dict[str, str]
) -> int | str | None:
    if isinstance(size, int):
        return size
    if size.value is None or size.value in renamed:
        return renamed.get(size.value or "")
    return pattern.sub(lambda m: _inside(renamed[m[0]]), size.value)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model_graphs(model):
        yield from graph.inputs
        yield from graph.initializers.values()
    for node in model.graph.all_nodes():
        yield from node.outputs
