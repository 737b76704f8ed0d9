"""Two long texts, cut to where they differ."""

from __future__ import annotations

LONGEST = 60
"""Characters that are shown of each."""

BEFORE = 20
"""Of those, how many may stand before the difference."""


def cut_around(one: str, other: str) -> tuple[str, str]:
    """Give both texts, of long ones the stretch around the first difference."""
    if max(len(one), len(other)) <= LONGEST:
        return one, other
    pairs = enumerate(zip(one, other, strict=False))
    shared = next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))
    start = max(0, shared - BEFORE)
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    end = start + LONGEST
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
