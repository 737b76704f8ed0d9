"""Amounts as people write them: ``20GB``, ``30d``."""

from __future__ import annotations

import re

from onnxbuild.errors import UsageError

_BYTES = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

SIZE = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\s*$"
AGE = r"^\s*[0-9]+(\.[0-9]+)?\s*[smhdwSMHDW]\s*$"

WRITTEN = {SIZE: "20GB, 512MiB or 1000000", AGE: "30d, 12h or 90m"}
"""By pattern, how such an amount is written."""

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def read_size(text: str) -> int:
    """Read a number of bytes: ``20GB`` (powers of 1000), ``512MiB`` (of 1024). Raises `UsageError`."""
    return int(_read(text, _BYTES, "a size", WRITTEN[SIZE]))


def read_age(text: str) -> float:
    """Read a span of time in seconds: ``30d``, ``12h``. Raises `UsageError`."""
    return _read(text, _SECONDS, "a span of time", WRITTEN[AGE])


def show_size(count: float) -> str:
    """Write a number of bytes for people: ``812 B``, ``97.2 kB``, ``44.7 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":  # noqa: PLR2004 - SI units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def show_seconds(seconds: float) -> str:
    """Write a span of time for people: ``0.4 s``, ``12 s``, ``3 min``, ``2.5 h``."""
    if seconds < 10:  # noqa: PLR2004 - two digits tell enough
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004


def _read(text: str, units: dict[str, int], what: str, examples: str) -> float:
    match = _NUMBER.fullmatch(text)
    unit = match.group(2).lower() if match else ""
    if match is None or unit not in units:
        raise UsageError(f"{text!r} is not {what}", hint=f"write it as {examples}")
    return float(match.group(1)) * units[unit]
