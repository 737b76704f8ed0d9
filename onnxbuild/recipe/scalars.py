"""What an unquoted scalar means, and a walk over plain values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from onnxbuild.recipe.mistakes import KeyPath

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve_plain(text: str) -> Any:
    """Give what an unquoted scalar means in YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, 0) if text[1:2] in {"o", "x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def walk(data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Give every value that is neither mapping nor list, with its path."""
    pending = [(path, data)]
    while pending:
        at, value = pending.pop()
        if isinstance(value, dict):
            pending += [((*at, key), item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            pending += [((*at, str(index)), item) for index, item in reversed([*enumerate(value)])]
        else:
            yield at, value
