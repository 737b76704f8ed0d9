"""A bench on which all steps of a recipe run in this process, one after another."""

from __future__ import annotations

import importlib
from typing import Any

from torch_bench import Bench, Exported

from onnxbuild.compose import compose
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.values import plain
from onnxbuild.planner import Plan, make_plan


class Built:
    """What the steps of a recipe gave, by label."""

    def __init__(self, bench: Bench, plan: Plan) -> None:
        self.bench = bench
        self.plan = plan
        self.artifacts: dict[str, dict[str, Artifact]] = {}
        self.notes: dict[str, Any] = {}
        for step in plan.steps:
            inputs = {
                name: self.artifacts[source.step.label][source.name]
                for name, source in step.inputs.items()
            }
            work = bench.work(plain(step.options), inputs, step.outputs)
            module, _, function = step.run.partition(":")
            self.artifacts[step.label] = getattr(importlib.import_module(module), function)(work)
            self.notes[step.label] = work.notes

    def json(self, label: str, name: str) -> Any:
        """Read a result."""
        inputs = {name: self.artifacts[label][name]}
        return self.bench.work({}, inputs, ()).json(name)

    def worst(self) -> float:
        """The largest error of the exported graph over all outputs and shapes."""
        fidelity = self.json("verify export", "fidelity")
        return max(item["max_abs"] for item in fidelity["outputs"].values())

    def exported(self) -> Exported:
        return Exported(self.bench, self.artifacts["export"]["model"], self.notes["export"])


def build(bench: Bench, recipe: str, *overrides: str) -> Built:
    """Write a recipe, compose it and run its steps."""
    bench.write("pyproject.toml", "")
    bench.write("recipe.yaml", recipe)
    composed = compose("recipe.yaml", list(overrides))
    return Built(bench, make_plan([composed.recipe]))
