"""The base of every replacement rule: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

Level: TypeAlias = Literal["module", "operator", "graph"]

LEVELS: dict[Level, str] = {
    "module": "before the export, on the PyTorch model",
    "operator": "during the export, on each operator that the exporter meets",
    "graph": "after the export, on the ONNX graph",
}
"""When the rules of each level are applied, and to what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One replacement. Its level says when it is applied: before, during or after the export."""

    level: ClassVar[Level]
    run: ClassVar[str]
    """``package.module:function``, by level:

    - module: ``function(model, options, run) -> (model, paths)``: ``run(model)`` runs it once on the sample that
      the export traces, and ``paths`` names the modules that were replaced;
    - operator: ``function(options) -> {operator: translation}``: an operator is ``aten::roll`` or, for one overload
      alone, ``aten::roll.default``; a translation is called as ``translation(op, *arguments)``, with the builder
      of `onnxbuild.rules.building`;
    - graph: ``function(model, options) -> places``, which changes an ``onnx_ir.Model`` in place and names the nodes
      where it fired.

    ``options`` are the rule's as plain values. A rule that matches nothing gives no paths or places.
    """

    optional: bool = False
    """Say nothing when the rule matches nothing. Otherwise that is an error."""
