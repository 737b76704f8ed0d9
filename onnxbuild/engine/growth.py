"""Steps that a step answered with, between values and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxbuild.core.step import OWN, Output, Resources, Step


def read_growth(grown: Mapping[str, Any]) -> tuple[list[Step], dict[str, Output]]:
    """Read what a worker answered: new steps, producers first, and the outputs that stand for its own."""
    steps: list[Step] = []
    for data in grown["steps"]:
        fields = dict(data)
        fields["inputs"] = {
            name: _read_output(place, steps) for name, place in data.get("inputs", {}).items()
        }
        fields["resources"] = Resources(**data.get("resources", {}))
        for name in ("outputs", "libraries", "variables"):
            if name in fields:
                fields[name] = tuple(fields[name])
        steps.append(Step(**fields))
    return steps, {name: _read_output(place, steps) for name, place in grown["outputs"].items()}


def _read_output(place: Mapping[str, Any], steps: list[Step]) -> Output:
    if "own" in place:
        return Output(OWN, place["own"])
    return Output(steps[place["step"]], place["output"])
