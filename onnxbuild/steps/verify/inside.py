"""Look inside a model: what its nodes give, and the first that gives no number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx

from onnxbuild.arrays import Array
from onnxbuild.errors import ModelError
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import runnable
from onnxbuild.steps.running import Runner

MOST_NODES = 5000
"""Nodes of a model that is looked into: all their results are in memory at once."""


def run_inside(
    path: str,
    threads: int,
    item: Mapping[str, Array],
    types: Collection[str],
) -> list[tuple[onnx.NodeProto, str, Array]]:
    """Run a model and give, in the graph's order, what its nodes give: (node, name, values).

    Only results whose type is among `types` (onnxruntime's words), and none from inside subgraphs. As
    each is an output now, onnxruntime fuses nothing and rounds each to its type; but what comes after it may
    be computed from the number before it was rounded. Raises `ModelError`.
    """
    proto = runnable(path)
    if len(proto.graph.node) > MOST_NODES:
        raise ModelError(f"it has {len(proto.graph.node)} nodes, too many to look at each")
    makers = {name: node for node in proto.graph.node for name in node.output if name}
    known = {value.name for value in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in makers if name not in known
    )
    runner = Runner(
        proto.SerializeToString(), threads, lambda options: sessions.find_weights(options, path)
    )
    names = [name for name in makers if runner.outputs[name] in types]
    values: dict[str, Any] = runner.run(item, "the sample", names)
    return [(makers[name], name, values[name]) for name in names]


def find_bad_node(path: str, threads: int, item: Mapping[str, Array]) -> dict[str, str]:
    """Name the first node that gives NaN or Inf; where that cannot be found, say why not."""
    floats = ("tensor(float)", "tensor(float16)", "tensor(double)")
    try:
        inside = run_inside(path, threads, item, floats)
    except ModelError as error:
        return {"unknown": str(error)}
    for node, name, values in inside:
        if not np.isfinite(values).all():
            return describe_node(node, name)
    return {"unknown": "with every node's result looked at, all are finite"}


def describe_node(node: onnx.NodeProto, name: str) -> dict[str, str]:
    """Give what people need to find a node."""
    return {"node": node.name or name, "operator": node.op_type, "result": name}
