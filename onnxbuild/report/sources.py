"""Whether a variant was worth it: its size and speed against the model that its stage started from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from onnxbuild.recipe.schema import Verify
from onnxbuild.report.finding import Finding, Json, number

LARGER = 1.02
"""Size over that of another model from which it is worth a word."""
SLOWER = 0.75
"""Speed over that of another model below which it is worth a word: on a busy machine timings vary by a fifth."""


def compare_sizes(size: int, export_size: int, source_size: int) -> dict[str, float | None]:
    """Give the size over that of the exported model, and over that of the model that it comes from."""
    return {
        "over_export": round(size / export_size, 4) if export_size else None,
        "over_source": round(size / source_size, 4) if source_size else None,
    }


def say_once(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Make one warning of the two on a variant that is larger, or slower, than both that it is held against."""
    warnings: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.level == "warning":
            warnings.setdefault(finding.what, []).append(finding)
        else:
            yield finding
    for each in warnings.values():
        yield replace(each[0], measured=", and ".join(item.measured for item in each))


def judge_source(
    verify: Verify, size: int, export_size: int, source_size: int | None, latency: Json | None
) -> Iterator[Finding]:
    """Judge by the gates that are asked; else warn of a variant that is larger or slower.

    Without a `source_size` it starts from the exported model, with which it is compared anyhow: nothing is said twice.
    """
    speedup = (latency or {}).get("speedup_over_source")
    before = export_size if source_size is None else source_size
    ratio = size / before if before else 1.0
    if verify.max_size_ratio_to_source is not None:
        yield Finding(
            what="size over that of the model it comes from",
            asked=f"at most {number(verify.max_size_ratio_to_source)}",
            measured=number(ratio),
            passed=ratio <= verify.max_size_ratio_to_source,
        )
    elif source_size is not None and ratio > LARGER:
        yield Finding(
            what="size",
            asked="no more than that",
            measured=f"{number(ratio)} times that of the model it comes from ({size:,} of {before:,} bytes)",
            passed=False,
            level="warning",
        )
    if verify.min_speedup_over_source is not None:
        yield Finding(
            what="speed over that of the model it comes from",
            asked=f"at least {number(verify.min_speedup_over_source)}",
            measured=number(speedup),
            passed=speedup is not None and speedup >= verify.min_speedup_over_source,
            hint="timings vary: run it on an idle machine" if speedup is not None else "",
        )
    elif source_size is not None and speedup is not None and speedup < SLOWER:
        yield Finding(
            what="speed",
            asked="no less than that",
            measured=f"{number(speedup)} times that of the model it comes from on this machine",
            passed=False,
            level="warning",
        )
