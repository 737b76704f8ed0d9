"""What differs between two ONNX files, as plain values: for `inspect` and `diff`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx_ir as ir

from onnxbuild.graph.load import model_nodes, read
from onnxbuild.graph.summary import dims
from onnxbuild.graph.weights import digest, weights


def compare(left: str, right: str) -> dict[str, Any]:
    """Compare the models at two paths; empty when they are the same but for names of nodes.

    ``opsets``, ``inputs``, ``outputs``, ``operators`` map what differs to ``[left, right]``; ``nodes`` and
    ``weights`` list ``added`` and ``removed``, and ``changed``, where the name is in both. Nodes are
    told apart by the first value that they make.
    """
    before, after = read(left), read(right)
    found = {
        "opsets": _pairs(before.opset_imports, after.opset_imports),
        "inputs": _pairs(_interface(before.graph.inputs), _interface(after.graph.inputs)),
        "outputs": _pairs(_interface(before.graph.outputs), _interface(after.graph.outputs)),
        "operators": _pairs(_operators(before), _operators(after)),
        "nodes": _sets(_nodes(before), _nodes(after)),
        "weights": _sets(_weights(before), _weights(after)),
    }
    return {key: value for key, value in found.items() if value}


def _pairs(left: Any, right: Any) -> dict[str, list[Any]]:
    return {
        key: [left.get(key), right.get(key)]
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    }


def _sets(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "added": sorted(right.keys() - left.keys()),
        "removed": sorted(left.keys() - right.keys()),
        "changed": _pairs(
            {key: left[key] for key in left.keys() & right.keys()},
            {key: right[key] for key in left.keys() & right.keys()},
        ),
    }
    return {key: value for key, value in found.items() if value}


def _interface(values: Any) -> dict[str, dict[str, Any]]:
    return {
        value.name: {
            "dtype": value.dtype.name.lower() if value.dtype else None,
            "shape": dims(value),
        }
        for value in values
    }


def _operators(model: ir.Model) -> dict[str, int]:
    return Counter(".".join(filter(None, (n.domain, n.op_type))) for n in model_nodes(model))


def _nodes(model: ir.Model) -> dict[str, Any]:
    return {
        node.outputs[0].name or "": {
            "operator": ".".join(filter(None, (node.domain, node.op_type))),
            "inputs": [value.name if value is not None else "" for value in node.inputs],
        }
        for node in model_nodes(model)
        if node.outputs
    }


def _weights(model: ir.Model) -> dict[str, Any]:
    return {
        value.name or "": {
            "dtype": value.const_value.dtype.name.lower(),
            "shape": list(value.const_value.shape.numpy()),
            "digest": digest(value.const_value),
        }
        for value in weights(model)
        if value.const_value is not None
    }
