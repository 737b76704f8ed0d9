"""One thing that was measured against what is asked, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Mapping[str, Any]
Level: TypeAlias = Literal["gate", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was measured against what is asked."""

    what: str
    """What was measured: ``scaled error``."""

    asked: str
    """``at most 0.01``."""

    measured: str
    """``0.3``."""

    where: str = ""
    """Output and shape: ``logits at batch=64``."""

    passed: bool
    hint: str = ""
    level: Level = "gate"
    """A gate that is missed keeps the variant from being published."""

    numbers: bool = False
    """It is about how far the model's numbers are off, or what that does to the metric."""

    def describe(self) -> str:
        """Say it in a sentence."""
        place = f" of {self.where}" if self.where else ""
        asked = f", asked: {self.asked}" if self.asked else ""
        return f"{self.what}{place} is {self.measured}{asked}"


def place(output: str, shape: str) -> str:
    """Say of which output at which shape."""
    return f"`{output}` at {shape}"


def number(value: float | None) -> str:
    """Write a number to four digits."""
    return "not known" if value is None else f"{value:.4g}"
