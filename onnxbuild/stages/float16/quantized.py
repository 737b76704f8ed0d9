"""Which nodes quantize, and which stand beside those: half precision leaves them as they are."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

QUANTIZING = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger",
    "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "QGemm",
    "QEmbedLayerNormalization", "QuantizeWithOrder", "DequantizeWithOrder",
)  # fmt: skip
"""Operators that quantize, or compute with integers, and those that begin with ``QLinear``."""

ANY_PRECISION = {"Cast", "Shape", "Size"}
"""Operators that hand on a quantized value, or ask nothing of its precision."""


def quantizes(node: ir.Node) -> bool:
    """True for a node that quantizes, or computes with integers."""
    return node.op_type in QUANTIZING or node.op_type.startswith("QLinear")


def beside_quantized(nodes: list[ir.Node]) -> Iterator[ir.Node]:
    """Give the nodes between those that quantize, which runtimes join with them.

    Sums of integers, and scales, are also beyond half precision.
    """
    for node in nodes:
        if not quantizes(node):
            continue
        pending = [user for value in node.outputs for user, _ in value.uses()]
        while pending:
            user = pending.pop()
            if user.op_type == "Cast":
                pending += [after for value in user.outputs for after, _ in value.uses()]
            elif user.op_type not in ANY_PRECISION and not quantizes(user):
                yield user
        maker = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if maker is None or quantizes(maker) or maker.op_type in ANY_PRECISION:
            continue
        if all(quantizes(user) for value in maker.outputs for user, _ in value.uses()):
            yield maker
