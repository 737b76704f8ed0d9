"""Equal weights, stored once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass


def apply(model: ir.Model, options: Mapping[str, Any]) -> list[str]:
    """Have equal weights share one; give the names that went."""
    del options
    before = list(model.graph.initializers)
    DeduplicateInitializersPass(size_limit=1 << 40)(model)
    return [name for name in before if name not in model.graph.initializers]
