"""Judge each channel of an output by its own size: what is small beside others can be lost unseen."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.recipe.schema import Verify
from onnxbuild.report.finding import Finding, Json, Level, number
from onnxbuild.report.tolerances import ChannelLimit


def judge_channels(
    name: str, output: Json, limit: ChannelLimit, *, asked: Level | None = None
) -> Iterator[Finding]:
    """Judge the worst channel of an output by its own largest value; a warning only where it is missed.

    `asked` says how much it weighs that there is no channel to judge: None where the recipe does not ask.
    """
    found = [
        channel
        for channel in output.get("channels", ())
        if channel["error"] is not None and channel["values"] >= limit.values
    ]
    if not found:
        if asked is not None and "channels" in output:
            yield Finding(
                what="scaled error of each channel",
                asked=f"at most {number(limit.most)}",
                measured="not known: behind the first it has no axis of one size whose values are all finite",
                where=f"`{name}`",
                passed=False,
                hint="leave out `scaled_per_channel`, or give it for other `outputs`",
                level=asked,
            )
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


def asks_channels(verify: Verify, output: str, measured: Json) -> Level | None:
    """Say how much it weighs where no channel of an output can be judged: all, where asked of that output."""
    own = verify.outputs.get(output)
    if own is not None and own.scaled_per_channel is not None:
        return "gate"
    # What is asked of all outputs is not meant for indices and truth values.
    return (
        "warning"
        if verify.scaled_per_channel is not None and "mismatched" not in measured
        else None
    )
