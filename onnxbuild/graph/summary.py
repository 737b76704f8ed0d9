"""What an ONNX file is, as plain values: for build.json and `inspect`."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import onnx_ir as ir

from onnxbuild.graph.load import model_nodes, read
from onnxbuild.graph.weights import weights


def summarize(path: str) -> dict[str, Any]:
    """Summarize the model at `path`: its interface, operators, weights and sizes.

    ``opset`` is that of the standard operators, ``opsets`` has every domain. A dimension is a number,
    a name, or None where nothing is known. Nodes of subgraphs and functions count once each.
    ``bytes`` is the graph with its weights.
    """
    model = read(path)
    operators = Counter(_operator(node) for node in model_nodes(model))
    external = {value.const_value for value in weights(model)} - {None}
    outside = sum(tensor.nbytes for tensor in external if isinstance(tensor, ir.ExternalTensor))
    graph_bytes = os.path.getsize(path)
    return {
        "opset": model.opset_imports.get(""),
        "opsets": dict(sorted(model.opset_imports.items())),
        "ir_version": model.ir_version,
        "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
        "doc": model.doc_string or "",
        "metadata": dict(sorted(model.metadata_props.items())),
        "inputs": [_describe(value) for value in own_inputs(model)],
        "outputs": [_describe(value) for value in model.graph.outputs],
        "nodes": sum(operators.values()),
        "operators": dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        "functions": len(model.functions),
        "weights": _weights(model),
        "bytes": graph_bytes + outside,
        "graph_bytes": graph_bytes,
    }


def own_inputs(model: ir.Model) -> list[ir.Value]:
    """List the inputs that a caller must give: those that are no weights."""
    return [value for value in model.graph.inputs if value.const_value is None]


def _operator(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _describe(value: ir.Value) -> dict[str, Any]:
    return {
        "name": value.name,
        "dtype": value.dtype.name.lower() if value.dtype is not None else None,
        "shape": dims(value),
    }


def dims(value: ir.Value) -> list[int | str | None] | None:
    """Give the dimensions of a value as numbers, names, or None; None if even the rank is unknown."""
    if value.shape is None:
        return None
    return [dim if isinstance(dim, int) else dim.value for dim in value.shape]


def _weights(model: ir.Model) -> dict[str, Any]:
    by_dtype: dict[str, dict[str, int]] = {}
    for value in weights(model):
        tensor = value.const_value
        if tensor is None:
            continue
        entry = by_dtype.setdefault(
            tensor.dtype.name.lower(), {"tensors": 0, "elements": 0, "bytes": 0}
        )
        entry["tensors"] += 1
        entry["elements"] += tensor.size
        entry["bytes"] += 0 if tensor.dtype == ir.DataType.STRING else tensor.nbytes
    return {
        "tensors": sum(entry["tensors"] for entry in by_dtype.values()),
        "elements": sum(entry["elements"] for entry in by_dtype.values()),
        "bytes": sum(entry["bytes"] for entry in by_dtype.values()),
        "dtypes": dict(sorted(by_dtype.items())),
    }
