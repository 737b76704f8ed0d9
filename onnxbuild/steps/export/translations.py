"""torch's table of translations from ATen to ONNX, made once for all exports of a process and its forks."""

from __future__ import annotations

import functools
from typing import Any

from torch.onnx._internal.exporter import _registration


def keep_translations() -> None:
    """Have torch make the table once for each opset. Calling it again changes nothing.

    Measured with torch 2.13: each export makes it anew from the source of 500 functions, in 0.36 s, and
    what comes out is the same.
    """
    registry: Any = getattr(_registration, "ONNXRegistry", None)
    make = getattr(registry, "from_torchlib", None)
    if make is None or hasattr(make, "__wrapped__"):
        return
    once = functools.cache(make)

    @functools.wraps(make)
    def from_torchlib(*args: Any, **options: Any) -> Any:
        whole = once(*args, **options)
        copy = registry()
        # A table may be added to, whoever asked for it.
        functions = {target: list(found) for target, found in whole.functions.items()}
        copy.__dict__.update(vars(whole) | {"functions": functions})
        return copy

    registry.from_torchlib = staticmethod(from_torchlib)
