"""Names that are written once and stand for many: ``{0..27}.{key,value}``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

GROUP = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"\s*(\d{1,9})\s*\.\.\s*(\d{1,9})\s*")

MOST = 10_000
"""Names that one text may stand for."""


class ExpandError(ValueError):
    """What is wrong with such a text."""


def expand(text: str) -> list[str]:
    """Give all names, the last group changing fastest. Raises `ExpandError`."""
    rest = GROUP.sub("", text)
    if "{" in rest or "}" in rest:
        msg = "a brace has no partner, or one stands inside of another"
        raise ExpandError(msg)
    groups = []
    count = 1
    # Text and what stands in braces alternate.
    for position, part in enumerate(GROUP.split(text)):
        choices = _choices(part) if position % 2 else [part]
        count *= len(choices)
        if count > MOST:
            msg = f"it stands for more than {MOST} names"
            raise ExpandError(msg)
        groups.append(choices)
    names = ["".join(parts) for parts in itertools.product(*groups)]
    if len(set(names)) < len(names):
        msg = "it gives a name twice"
        raise ExpandError(msg)
    for name in names:
        if "" in name.split("."):
            msg = f"it gives the name {name!r}, which has an empty part"
            raise ExpandError(msg)
    return names


def _choices(text: str) -> list[str]:
    numbers = RANGE.fullmatch(text)
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        if last - first > MOST:
            msg = f"it stands for more than {MOST} names"
            raise ExpandError(msg)
        if last < first:
            msg = f"{{{text}}} goes from {first} down to {last}"
            raise ExpandError(msg)
        return [str(number) for number in range(first, last + 1)]
    return [choice.strip() for choice in text.split(",")]


def write_all(section: Mapping[str, Any], linked: str = "") -> dict[str, Any]:
    """Write out the entries of a section that stand for many; what cannot be expanded stays as it is.

    The value of the key `linked` is such a name as well: each of the many has its own.
    """
    out: dict[str, Any] = {}
    for name, value in section.items():
        text = value.get("expand") if isinstance(value, Mapping) else None
        if not isinstance(text, str):
            out[name] = value
            continue
        try:
            endings = expand(text)
        except ExpandError:
            out[name] = value
            continue
        shared = {key: item for key, item in value.items() if key != "expand"}
        for ending in endings:
            own = dict(shared)
            if isinstance(shared.get(linked), str):
                own[linked] = f"{shared[linked]}.{ending}"
            out[f"{name}.{ending}"] = own
    return out
