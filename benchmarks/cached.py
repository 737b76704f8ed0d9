"""A run with everything cached, and ``--help``, against ``python -c pass``: time, memory, imports.

``python benchmarks/cached.py [--rounds N] [--steps N]``: with ``--steps`` a chain of so many stages of
a tiny graph, else ``recipes/digits.yaml``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from measure import RECIPES, interleave, median, onnxbuild, project, run, steps_that_ran, verdict

HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "numpy",
    "hydra",
    "omegaconf",
    "yaml",
    "jsonschema",
    "rich",
)
BUDGETS = ((10, 6.0), (1_000, 8.0), (10_000, 30.0))
MEMORY = 40.0

LOOK = """
import json, sys
sys.argv = ["onnxbuild", *json.loads(sys.argv[1])]
from onnxbuild.__main__ import main
try:
    main()
except SystemExit as end:
    print(json.dumps({"code": end.code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""

CHAIN_MODEL = """
import onnx
from onnx import TensorProto, helper

value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "chain", [value("x")], [value("y")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "chain.onnx")
"""
CHAIN_STAGE = """
def note(model, number):
    model.metadata_props.add(key=f"note{number}", value="x")
    return model
"""


def main() -> None:
    """Build once, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, help="a chain of so many stages instead of the digits")
    options = parser.parse_args()
    parts = [os.path.join(RECIPES, name) for name in ("digits", "digits.yaml")]
    with project(*([] if options.steps else parts)) as folder:
        recipe = write_chain(folder, options.steps) if options.steps else "digits.yaml"
        measure(folder, recipe, options.rounds)


def measure(folder: str, recipe: str, rounds: int) -> None:
    """Print the figures for one recipe."""
    first = run(onnxbuild("run", recipe, "--json"), folder).json()
    again = run(onnxbuild("run", recipe, "--json"), folder).json()
    ran = steps_that_ran(again)
    count = len(again["steps"])
    print(f"{recipe}: {count} steps, {len(steps_that_ran(first))} ran at first, {len(ran)} again")
    if ran:
        raise SystemExit(f"the second run ran: {', '.join(ran)}")

    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "run, all cached": onnxbuild("run", recipe),
        "--help": onnxbuild("--help"),
        "plan": onnxbuild("plan", recipe),
        "validate": onnxbuild("validate", recipe),
    }
    for command in commands.values():
        run(command, folder)
    found = interleave(commands, folder, rounds)
    base = median(found["python -c pass"])
    budget = next((ratio for steps, ratio in BUDGETS if count <= 2.5 * steps), BUDGETS[-1][1])
    print(f"{'medians of ' + str(rounds):24} {'ms':>8} {'ratio':>7} {'MB':>7}")
    for name, runs in found.items():
        ratio = median(runs) / base
        memory = max(item.megabytes for item in runs)
        told = "" if name.startswith("python") else verdict(ratio, budget)
        told += "" if memory <= MEMORY else f", memory over {MEMORY:g} MB"
        print(f"{name:24} {median(runs) * 1e3:8.1f} {ratio:7.2f} {memory:7.1f}  {told}")
    for name in ("run, all cached", "--help"):
        print(
            f"heavy modules imported by {name}: {', '.join(look(commands[name], folder)) or 'none'}"
        )


def look(command: list[str], folder: str) -> list[str]:
    """Run a command in an interpreter that says which heavy modules it imported."""
    arguments = command[command.index("onnxbuild") + 1 :] if "onnxbuild" in command else command[1:]
    done = run([sys.executable, "-c", LOOK, json.dumps(arguments)], folder)
    modules = json.loads(done.errors.splitlines()[-1])["modules"]
    return [name for name in HEAVY if name in modules]


def write_chain(folder: str, steps: int) -> str:
    """Write a recipe whose stages form a chain of `steps`."""
    run([sys.executable, "-c", CHAIN_MODEL], folder)
    with open(os.path.join(folder, "stage.py"), "w", encoding="utf-8") as file:
        file.write(CHAIN_STAGE)
    lines = ["name: chain", "model: {onnx: chain.onnx}", "stages:"]
    source = "export"
    for number in range(steps):
        lines.append(f"  s{number}: {{use: 'stage.py:note', from: {source}, number: {number}}}")
        source = f"s{number}"
    with open(os.path.join(folder, "chain.yaml"), "w", encoding="utf-8") as file:
        file.write("\n".join([*lines, f"publish: [{source}]", ""]))
    return "chain.yaml"


if __name__ == "__main__":
    main()
