"""Other names for dimensions and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.rename.spec import Rename


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Rename; give the old names that were found."""
    rule = build(Rename, options)
    values = list(_values(model))
    names = {value.name for value in values}
    found: dict[str, None] = {}
    for kind, ports in (("inputs", model.graph.inputs), ("outputs", model.graph.outputs)):
        taken = [value.name for value in ports if value.name in rule.values]
        if taken:
            raise ExportError(
                f"{taken[0]!r} has the name that `{kind}` gives it, and the rule would give it another",
                where="replace",
                hint=f"write that name under `{kind}`: names that the model does not have are given in its order",
            )
    for old, new in rule.values.items():
        if new in names:
            raise ExportError(
                f"{old!r} cannot be named {new!r}: another value has that name", where="replace"
            )
    for value in values:
        if value.name in rule.values:
            found[value.name] = None
            _rename(value, rule.values[value.name])
        if value.shape is None:
            continue
        old_dims = [dim.value if isinstance(dim, ir.SymbolicDim) else None for dim in value.shape]
        used = [dim for dim in old_dims if dim in rule.dims]
        if used:
            found.update(dict.fromkeys(str(dim) for dim in used))
            value.shape = ir.Shape(
                rule.dims.get(old, size) if old is not None else size
                for old, size in zip(old_dims, value.shape, strict=True)
            )
    return list(found)


def _rename(value: ir.Value, name: str) -> None:
    graph = value.graph if value.is_initializer() else None
    if graph is None:
        value.name = name
        return
    old = value.name
    value.name = name
    if old in graph.initializers:
        del graph.initializers[old]
        graph.initializers[name] = value


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from graph.inputs
        yield from list(graph.initializers.values())
    for node in model.graph.all_nodes():
        yield from node.outputs
