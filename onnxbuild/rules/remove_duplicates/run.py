"""Equal nodes on equal values, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Take out what is computed already; give the nodes that went."""
    del options
    before = {id(node): node for node in model.graph}
    CommonSubexpressionEliminationPass()(model)
    kept = {id(node) for node in model.graph}
    return [node.name or node.op_type for number, node in before.items() if number not in kept]
