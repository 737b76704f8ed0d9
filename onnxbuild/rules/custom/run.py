"""Let a function of the user's change the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from onnxbuild import entries
from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.custom.spec import Custom


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Call the function; give the model to export and one path for each replacement it counted."""
    del run
    rule = build(Custom, options)
    function = entries.load(rule.function)
    result = function(model, **rule.options)
    if isinstance(result, nn.Module):
        return result, ["(the model)"]
    if isinstance(result, bool) or not isinstance(result, int) or result < 0:
        raise ExportError(
            f"{rule.function} returned {result!r}",
            where="replace",
            hint="return how many modules were replaced, or the module to export instead",
        )
    return model, [f"{rule.function} #{number}" for number in range(1, result + 1)]
