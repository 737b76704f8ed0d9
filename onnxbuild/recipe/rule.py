"""The base of every replacement rule: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

Level: TypeAlias = Literal["module", "operator", "graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One replacement. Its level says when it is applied: before, during or after the export."""

    level: ClassVar[Level]
    run: ClassVar[str]
    """``package.module:function``. For modules ``function(model, options, run) -> (model, paths)``: ``options``
    are this rule's as plain values, ``run(model)`` runs it once on the sample that the export traces, and
    ``paths`` names the modules that were replaced, none where the rule matches nothing."""

    optional: bool = False
    """Say nothing when the rule matches nothing. Otherwise that is an error."""
