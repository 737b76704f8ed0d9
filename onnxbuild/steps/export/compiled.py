"""What a translation has written, held against the opset of the graph: single nodes, and compiled onnxscript functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir as ir
import onnxscript

from onnxbuild.errors import ExportError

BUILDER = "write it as a plain function of the builder, the parameter `op`, which has `op.opset` and `op.has(name)`"
"""The way out where a function is of another opset."""


def check_nodes(nodes: Sequence[ir.Node], opset: int, rule: str) -> None:
    """Raise `ExportError` for an operator that the opset does not have."""
    for node in nodes:
        if node.domain in {"", "ai.onnx"} and not onnx.defs.has(node.op_type, opset):
            raise ExportError(
                f"the rule {rule!r} writes {node.op_type}, which opset {opset} does not have",
                where=f"replace.{rule}",
                hint=BUILDER,
            )


def check_outputs(function: Any, rule: str) -> None:
    """Raise `ExportError` for a compiled function that does not tell what it returns: torch would take it for nothing."""
    if not isinstance(function, onnxscript.OnnxFunction) or function.traceable:
        return
    if "return" not in function.function.__annotations__:
        raise ExportError(
            f"the onnxscript function {function.name!r} of the rule {rule!r} does not say what it returns",
            where=f"replace.{rule}",
            hint="annotate it: `-> FLOAT[...]`, or a tuple of such",
        )


def retarget(function: onnxscript.OnnxFunction, opset: int, rule: str) -> ir.Function:
    """Give a compiled function as one of the graph's opset.

    Raises `ExportError` where one of its operators takes other inputs or attributes there. More types do not count.
    """
    written = ir.serde.deserialize_function(function.to_function_proto())
    own = written.opset_imports.get("")
    if own is None or own == opset:
        return written
    for node in written.all_nodes():
        if node.domain not in {"", "ai.onnx"}:
            continue
        mine = _interface(node.op_type, own)
        if not onnx.defs.has(node.op_type, opset) or _interface(node.op_type, opset) != mine:
            raise ExportError(
                f"the rule {rule!r} is a compiled onnxscript function of opset {own}, and the graph has {opset},"
                f" where {node.op_type} is another",
                where=f"replace.{rule}",
                hint=BUILDER,
            )
    written.opset_imports[""] = opset
    return written


def _interface(name: str, opset: int) -> Any:
    """Give what an operator takes in an opset, apart from types."""
    schema = onnx.defs.get_schema(name, opset)
    attributes = {
        key: (attribute.type, attribute.required, attribute.default_value.SerializeToString())
        for key, attribute in schema.attributes.items()
    }
    return [item.name for item in schema.inputs], len(schema.outputs), attributes
