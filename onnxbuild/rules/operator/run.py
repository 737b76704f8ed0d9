"""Translate one operator by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onnxbuild import entries
from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.operator.spec import Operator


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the operator's translation."""
    rule = build(Operator, options)
    function = entries.load(rule.with_)
    if not callable(function):
        raise ExportError(f"{rule.with_} is no function", where="replace")
    return {rule.operator: function}
