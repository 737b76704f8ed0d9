"""The values that there are, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::_unique2": unique}


def unique(
    op: Builder,
    x: ir.Value,
    sorted: bool = True,  # noqa: A002 - torch's name
    return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Give the values, in order; for each of `x`, which of them it is; and how often each is there."""
    # Torch gives them sorted either way.
    del sorted, return_inverse, return_counts
    values, _, inverse, counts = op.Unique(x, sorted=1)
    return values, op.Reshape(inverse, op.Shape(x)), counts
