"""Checks at run time, taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

NAMES = frozenset({"Assert", "_assert_async", "_assert_scalar", "_assert_tensor_metadata"})
"""What exporters and frameworks call such nodes; ONNX itself has none."""


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Take out assertions and all that nothing else uses; give the nodes."""
    del options
    places: list[str] = []
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in list(graph):
            if node.op_type in NAMES and not any(output.uses() for output in node.outputs):
                places.append(node.name or node.op_type)
                graph.remove(node, safe=True)
    before = {id(node): node.name or node.op_type for node in model.graph}
    RemoveUnusedNodesPass()(model)
    kept = {id(node) for node in model.graph}
    return places + [name for number, name in before.items() if number not in kept]
