"""Which choices a variant makes otherwise than the exported model, and how far off it is with the same ones.

Where two scores are close, their rounding turns a choice over: another expert, box or neighbour is taken, and what
comes out jumps. So the variant runs once more with the exported model's choices as inputs: what is then left of its
error is not theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper

from onnxbuild.arrays import Array
from onnxbuild.graph.choices import DECIDING, scores_of
from onnxbuild.steps.verify.compare import Comparison
from onnxbuild.steps.verify.sides import Side

TYPES = {ir.DataType.BOOL: np.bool_, ir.DataType.INT64: np.int64}
"""Types of what is chosen."""


def look_at_choices(
    exported: Side, variant: Side, item: Mapping[str, Array], threads: int
) -> dict[str, Any] | None:
    """Give the ``nodes`` whose choices differ (``differ`` ``of`` how many), and the error with the ``same`` ones.

    None where none differs. Raises `ModelError`.
    """
    chosen = _find_choices(exported, variant)
    if not chosen:
        return None
    expected = exported.run(list(chosen), item, threads)
    found = variant.run(list(chosen), item, threads)
    nodes = [
        {
            "node": node.name or name,
            "operator": node.op_type,
            "differ": _count(expected[name], found[name]),
            "of": int(expected[name].size),
        }
        for name, node in chosen.items()
    ]
    nodes = [node for node in nodes if node["differ"]]
    if not nodes:
        return None
    outputs = [
        value.name or ""
        for value in exported.model.graph.outputs
        if value.name in exported.values and value.name in variant.values
    ]
    forced = Side(_force(variant.proto, chosen), variant.path, variant.model, variant.values)
    right = exported.run(outputs, item, threads)
    same = forced.run(outputs, {**item, **expected}, threads)
    return {"nodes": nodes, "same": _compare(outputs, right, same)}


def _find_choices(exported: Side, variant: Side) -> dict[str, ir.Node]:
    """Give by name what both models choose by floating numbers, with the exported model's node."""
    names = {
        value.name
        for node in variant.model.graph
        if node.op_type in DECIDING
        for value in node.outputs
    }
    return {
        value.name: node
        for node in exported.model.graph
        if node.op_type in DECIDING and not node.domain and scores_of(node)
        for value in node.outputs
        if value.name in names
        and value.name
        and value.dtype in TYPES
        and not value.is_graph_output()
    }


def _count(expected: Array, found: Array) -> int:
    """Count the choices that differ; all of them where their number does."""
    if expected.shape != found.shape:
        return int(expected.size)
    return int((expected != found).sum())


def _force(proto: onnx.ModelProto, chosen: Mapping[str, ir.Node]) -> onnx.ModelProto:
    """Make inputs of what is chosen. The numbers that were chosen are then those at its places."""
    forced = onnx.ModelProto()
    forced.CopyFrom(proto)
    nodes = list(forced.graph.node)
    del forced.graph.node[:]
    for node in nodes:
        forced.graph.node.append(node)
        for index, name in enumerate(node.output):
            if name not in chosen or node.op_type not in DECIDING:
                continue
            made = forced.graph.node[-1]
            if node.op_type == "TopK":
                axis = next((one.i for one in node.attribute if one.name == "axis"), -1)
                made.output[0] = f"{node.output[0]} by itself"
                taken = helper.make_node(
                    "GatherElements", [node.input[0], name], [node.output[0]], axis=axis
                )
                forced.graph.node.append(taken)
            made.output[index] = f"{name} by itself"
            value = chosen[name].outputs[index]
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(TYPES[value.dtype]))
            forced.graph.input.append(helper.make_tensor_value_info(name, kind, None))
    return forced


def _compare(
    names: Sequence[str], expected: Mapping[str, Array], found: Mapping[str, Array]
) -> dict[str, float] | None:
    """Give the worst error and cosine over outputs; None where one cannot be compared."""
    worst = {"scaled": 0.0, "cosine": 1.0}
    for name in names:
        comparison = Comparison()
        comparison.add(expected[name], found[name])
        result = comparison.result()
        if result.get("problem") or result["scaled"] is None or result["cosine"] is None:
            return None
        worst["scaled"] = max(worst["scaled"], result["scaled"])
        worst["cosine"] = min(worst["cosine"], result["cosine"])
    return worst
