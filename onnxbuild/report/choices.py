"""Whether a variant that chooses by close scores would do so on other inputs too."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.report.finding import Finding, Json, number


def judge_choices(others: Json | None, most: float | None) -> Iterator[Finding]:
    """Warn where choices turn over on other inputs than the samples, and more than `most` is off there."""
    if not others or not others["turned"] or others["scaled"] <= (most or 0.0):
        return
    nodes = ", ".join(repr(name) for name in others["nodes"])
    yield Finding(
        what=f"share of other inputs than the samples at which choices by close scores ({nodes}) turn over",
        asked="none",
        measured=f"{others['turned']} of {others['inputs']}, where the scaled error is up to {number(others['scaled'])}",
        passed=False,
        hint="ask for what your use needs with a `metric` under `verify`",
        level="warning",
    )
