"""What `onnxbuild.plan` gives: the steps, and what would become of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnxbuild.core.trace import Fact
from onnxbuild.engine.forecast import Outlook
from onnxbuild.engine.preview import Prospect
from onnxbuild.planner import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """A plan, with what a build would do with each step."""

    plan: Plan
    prospects: tuple[Prospect, ...]
    facts: tuple[Fact, ...]
    """What this answer depends on."""

    outlook: Outlook | None = None
    """What the build would take; None where nothing would run."""

    def to_json(self) -> dict[str, Any]:
        """Give what ``plan --json`` and ``explain --json`` print."""
        number = {id(item.step): index for index, item in enumerate(self.prospects)}
        return {
            "steps": [
                {
                    "label": item.step.label,
                    "recipe": self.plan.owner(item.step),
                    "run": item.step.run,
                    "status": item.status,
                    "causes": list(item.causes),
                    "inputs": {
                        name: number[id(output.step)]
                        for name, output in item.step.inputs.items()
                        if id(output.step) in number
                    },
                    "may_grow": item.step.may_grow,
                    "key": item.key,
                    "seconds": item.trace.seconds if item.trace else None,
                    "made": item.trace.made if item.trace else None,
                    "build": item.trace.build if item.trace else None,
                }
                for item in self.prospects
            ],
            "forecast": self.outlook.to_json() if self.outlook else None,
        }
