"""Whether a variant was worth it: its size and speed against the model that its stage started from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another model that a variant is held against."""

    whose: str
    """Its own size or speed, in words: ``the exported model's``."""

    size: int
    most: float | None
    """The gate for the variant's size over its; None where there is none."""

    speedup: float | None
    least: float | None
    """The gate for the variant's speed over its."""

    warns: bool
    """A variant that is larger or slower is worth a word where no gate is asked."""

    def judge(self, size: int) -> Iterator[Finding]:
        """Judge the variant, of `size` bytes, by the gates that are asked; else warn."""
        ratio = size / self.size if self.size else 1.0
        told = f"({size:,} of {self.size:,} bytes)"
        if self.most is not None:
            yield Finding(
                what=f"size over {self.whose}",
                asked=f"at most {number(self.most)}",
                measured=f"{number(ratio)} {told}",
                passed=ratio <= self.most,
            )
        elif self.warns and ratio > LARGER:
            yield _warn("size", f"{number(ratio)} times {self.whose} {told}")
        if self.least is not None:
            yield Finding(
                what=f"speed over {self.whose}",
                asked=f"at least {number(self.least)}",
                measured=number(self.speedup),
                passed=self.speedup is not None and self.speedup >= self.least,
                hint="timings vary: run it on an idle machine" if self.speedup is not None else "",
            )
        elif self.warns and self.speedup is not None and self.speedup < SLOWER:
            yield _warn("speed", f"{number(self.speedup)} times {self.whose} on this machine")


def judge_worth(
    variant: str,
    verify: Verify,
    size: int,
    export_size: int,
    source_size: int | None,
    latency: Json | None,
) -> Iterator[Finding]:
    """Judge a variant's size and speed against the exported model's, and those of the model that it comes from.

    Without a `source_size` it starts from the exported model: nothing is said twice.
    """
    measured = latency or {}
    exported = Other(
        whose="the exported model's",
        size=export_size,
        most=verify.max_size_ratio,
        speedup=measured.get("speedup"),
        least=verify.min_speedup,
        warns=variant != "export",
    )
    source = Other(
        whose="that of the model it comes from",
        size=export_size if source_size is None else source_size,
        most=verify.max_size_ratio_to_source,
        speedup=measured.get("speedup_over_source"),
        least=verify.min_speedup_over_source,
        warns=source_size is not None,
    )
    yield from say_once([*exported.judge(size), *source.judge(size)])


def _warn(what: str, measured: str) -> Finding:
    asked = f"no {'more' if what == 'size' else 'less'} than that"
    return Finding(what=what, asked=asked, measured=measured, passed=False, level="warning")
