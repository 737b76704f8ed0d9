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
    """``package.module:function``; for modules ``function(model, rule) -> number of replacements``."""

    optional: bool = False
    """Say nothing when the rule matches nothing. Otherwise that is an error."""
