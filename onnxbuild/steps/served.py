"""What a variant publishes, where that is another than its model: named as inputs of the steps that measure it."""

from __future__ import annotations

from collections.abc import Mapping

from onnxbuild.core.step import Output

PREFIX = "file "
"""How the names of these inputs begin."""


def as_inputs(files: Mapping[str, Output] | None) -> dict[str, Output]:
    """Give published files as inputs of a step; `onnxbuild.steps.running.open_served` reads them."""
    return {PREFIX + name: output for name, output in (files or {}).items()}


def is_served(name: str) -> bool:
    """Tell whether an input of a step is such a file."""
    return name.startswith(PREFIX)
