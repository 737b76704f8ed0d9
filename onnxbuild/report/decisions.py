"""What an export has fixed that the model decides, or leaves, each time that it is called."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.report.finding import Finding, Json

CHANGES = {"mutated_inputs": "its inputs", "changed_state": "the model"}
"""Notes of an export on what a graph does not do, and what they are about."""


def judge_decisions(export: Json) -> Iterator[Finding]:
    """Tell of what a trace has fixed, each time: where all samples go one way no comparison shows it."""
    for line in export.get("decisions", ()):
        yield Finding(
            what=f"what the inputs' values decide at {line}",
            asked="",
            measured="fixed as the example has it",
            passed=False,
            hint="write it with torch.where or torch.cond",
            level="warning",
        )
    for key, whose in CHANGES.items():
        if export.get(key):
            yield Finding(
                what=f"what forward changes of {whose} ({', '.join(export[key])})",
                asked="",
                measured="lost in the graph",
                passed=False,
                hint="give what is kept from call to call as an input and an output",
                level="warning",
            )
