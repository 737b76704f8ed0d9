"""A cold build of ``recipes/resnet18.yaml`` against the hand-written script that does the same.

``python benchmarks/cold.py [--rounds N]``. Each round runs both, the build with an empty store; then
changes one option of the last stage and builds again. Prints ratios of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys

from measure import HERE, RECIPES, Run, median, onnxbuild, project, run, steps_that_ran, verdict

RECIPE = "resnet18.yaml"
BUDGET_COLD, BUDGET_EDIT = 0.9, 0.3
OPTION = "stages.int8.reduce_range=true"


def main() -> None:
    """Measure in turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    script: list[Run] = []
    cold: list[Run] = []
    edit: list[Run] = []
    with project(os.path.join(RECIPES, "resnet18"), os.path.join(RECIPES, RECIPE)) as folder:
        for number in range(rounds):
            # Whoever goes first finds a colder machine: take turns.
            order = (write_by_hand, build_cold) if number % 2 else (build_cold, write_by_hand)
            for turn in order:
                (script if turn is write_by_hand else cold).append(turn(folder))
            edit.append(run(onnxbuild("run", RECIPE, OPTION, "--json"), folder))
    tell(script, cold, edit)


def write_by_hand(folder: str) -> Run:
    """Run the script into an empty folder."""
    out = os.path.join(folder, "by-hand")
    shutil.rmtree(out, ignore_errors=True)
    os.mkdir(out)
    command = [sys.executable, os.path.join(HERE, "handwritten.py"), folder, out]
    return run(command, folder)


def build_cold(folder: str) -> Run:
    """Build with an empty store."""
    for name in (".onnxbuild", "artifacts"):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    return run(onnxbuild("run", RECIPE, "--json"), folder)


def tell(script: list[Run], cold: list[Run], edit: list[Run]) -> None:
    """Print the table."""
    base = median(script)
    phases = [json.loads(item.output.splitlines()[-1]) for item in script]
    first = cold[0].json()
    print(f"{RECIPE}, medians of {len(script)}; steps: {len(first['steps'])} cold, ", end="")
    print(f"{len(steps_that_ran(edit[0].json()))} after {OPTION}")
    print(f"{'':28} {'s':>7} {'range':>13} {'ratio':>6} {'MB':>6}")
    rows = {
        "hand-written script": (script, None),
        "onnxbuild, cold": (cold, BUDGET_COLD),
        "onnxbuild, one option": (edit, BUDGET_EDIT),
    }
    for name, (runs, budget) in rows.items():
        seconds = sorted(item.seconds for item in runs)
        ratio = median(runs) / base
        told = "" if budget is None else verdict(ratio, budget)
        memory = max(item.megabytes for item in runs)
        spread = f"{seconds[0]:.1f} to {seconds[-1]:.1f}"
        print(f"{name:28} {median(runs):7.2f} {spread:>13} {ratio:6.2f} {memory:6.0f}  {told}")
    print("the script by phase: ", end="")
    print(
        ", ".join(
            f"{name} {statistics.median(item['seconds'][name] for item in phases):.1f}"
            for name in phases[0]["seconds"]
        )
    )
    print("the build by step: ", end="")
    steps = sorted(first["steps"], key=lambda step: -step["seconds"])[:8]
    print(", ".join(f"{step['label']} {step['seconds']:.1f}" for step in steps))


if __name__ == "__main__":
    main()
