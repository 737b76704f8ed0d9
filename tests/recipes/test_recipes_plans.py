"""Every checked-in recipe is free of mistakes and plans what it did before.

After a change on purpose: ``ONNXBUILD_WRITE_SNAPSHOTS=1 pytest tests/recipes/test_recipes_plans.py``, and
read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onnxbuild.compose import compose
from onnxbuild.planner import Plan, make_plan

RECIPES = Path(__file__).parent.parent.parent / "recipes"
PLANS = Path(__file__).parent / "plans"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_recipe_plans_the_same_steps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe's steps, and how they hang together, change only on purpose."""
    monkeypatch.setenv("ONNXBUILD_STORE", str(tmp_path))
    golden = PLANS / f"{name}.txt"

    text = write_down(make_plan([compose(str(RECIPES / f"{name}.yaml")).recipe]))

    if os.environ.get("ONNXBUILD_WRITE_SNAPSHOTS"):
        golden.write_text(text)
    assert text == golden.read_text(), f"if this is right, write the plans anew (see {__file__})"


def test_each_recipe_gates_what_it_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipes that people copy publish several variants, int8 among them, each compared with PyTorch."""
    monkeypatch.setenv("ONNXBUILD_STORE", str(tmp_path))

    for name in NAMES:
        plan = make_plan([compose(str(RECIPES / f"{name}.yaml")).recipe])

        assert {variant.precision for variant in plan.variants} == {"fp32", "fp16", "int8"}
        assert all(variant.fidelity.step in plan.steps for variant in plan.variants)


def write_down(plan: Plan) -> str:
    """Write a plan as text: a line a step, with the number of each step that it takes something from."""
    number = {id(step): index for index, step in enumerate(plan.steps)}
    lines = []
    for index, step in enumerate(plan.steps):
        inputs = ", ".join(
            f"{name} of {number[id(output.step)]}" for name, output in step.inputs.items()
        )
        lines.append(f"{index:2} {step.label} [{step.run}]" + (f" <- {inputs}" if inputs else ""))
    lines += ["", "published:"]
    lines += [
        f"  {variant.name} ({variant.precision}): {number[id(variant.model.step)]}"
        for variant in plan.variants
    ]
    return "\n".join(lines) + "\n"
