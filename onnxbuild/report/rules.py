"""Which replacement rules fired where and how often, told from the notes of an export; and which is to blame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnxbuild.report.finding import Finding, number

SHOWN = 4
"""Places of one rule that a line names; build.json has them all."""


def tell_rules(notes: Mapping[str, Any]) -> str:
    """Say in few words how often each rule fired; empty where there is none."""
    fired = notes.get("rules") or ()
    return ", ".join(f"{item['rule']} {item['count']}" for item in fired)


def explain_rules(notes: Mapping[str, Any]) -> Iterator[str]:
    """Say in a line for each rule how often it fired, and where."""
    for item in notes.get("rules") or ():
        where = item["where"]
        more = f" and {len(where) - SHOWN} more" if len(where) > SHOWN else ""
        places = f": {', '.join(where[:SHOWN])}{more}" if where else ""
        times = "once" if item["count"] == 1 else f"{item['count']} times"
        why = f" ({item['why']})" if item.get("why") else ""
        yield f"the rule {item['rule']}{why} fired {times if item['count'] else 'nowhere'}{places}"


def blame_rules(missed: Sequence[Finding], notes: Mapping[str, Any]) -> list[Finding]:
    """Add to gates of numbers the rule that moves the numbers so far, as the export has found out."""
    guilty = notes.get("guilty")
    if not guilty:
        return list(missed)
    told = (
        f"the rule {guilty['rule']!r} moves the exported model by {number(guilty['error'])} of its largest value;"
        f" without it, it is off by {number(guilty['without'])}"
    )
    return [
        replace(item, hint=f"{told}; {item.hint}".removesuffix("; ")) if item.numbers else item
        for item in missed
    ]
