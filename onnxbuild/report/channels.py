"""Judge each channel of an output by its own size: what is small beside others can be lost unseen."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.report.finding import Finding, Json, number
from onnxbuild.report.tolerances import ChannelLimit


def judge_channels(name: str, output: Json, limit: ChannelLimit) -> Iterator[Finding]:
    """Judge the worst channel of an output by its own largest value; a warning only where it is missed."""
    found = [
        channel
        for channel in output.get("channels", ())
        if channel["error"] is not None and channel["values"] >= limit.values
    ]
    if not found:
        return
    worst = max(found, key=lambda channel: float(channel["error"]))
    passed = worst["error"] <= limit.most
    if passed and not limit.gate:
        return
    yield Finding(
        what=f"scaled error of channel {worst['channel']} (axis {worst['axis']})",
        asked=f"at most {number(limit.most)}",
        measured=f"{number(worst['error'])} of its largest value, {number(worst['largest'])}; "
        f"the output's is {number(output['largest'])}",
        where=f"`{name}`",
        passed=passed,
        hint="leave out what makes it (node or operator lists), or say under `verify` how far it may be: "
        "`scaled_per_channel`",
        level="gate" if limit.gate else "warning",
    )
