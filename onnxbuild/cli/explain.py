"""Say why each step would run, or what serves it instead. Runs no user code.

STEP is the name of a step, or a part of it that no other step has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

from onnxbuild import api
from onnxbuild.cli import console, fast
from onnxbuild.cli.arguments import add_json, add_multirun, add_only, split
from onnxbuild.cli.plan import STATES
from onnxbuild.cli.steps import count, name_steps, take_step
from onnxbuild.engine.explain import SHOWN
from onnxbuild.engine.preview import Prospect
from onnxbuild.errors import UsageError
from onnxbuild.planner import find_label
from onnxbuild.report.rules import explain_rules
from onnxbuild.report.view import PlanView
from onnxbuild.workplace import open_workplace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``explain``."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RECIPE.yaml | STEP | key=value",
        help="recipes, a step, and overrides of the recipes' keys",
    )
    add_json(parser)
    add_multirun(parser)
    add_only(parser)
    parser.add_argument("--step", metavar="STEP", help="only this step")


def main(options: argparse.Namespace) -> int:
    """Explain every step, or the one that was named."""
    words, step = take_step(options.words)
    if step is not None and options.step is not None:
        raise UsageError(
            f"two steps were named: {options.step!r} and {step!r}",
            hint="a recipe is a file that ends in .yaml; name one step",
        )
    recipes, overrides = split(words)
    with open_workplace(
        recipes, overrides, only=options.only, multirun=options.multirun, look=True
    ) as workplace:
        view = api.view(workplace)
        wanted = options.step if options.step is not None else step
        label = ""
        if wanted is not None:
            label = find_label(wanted, [item.step.label for item in view.prospects])
        text = _to_json(view, label) if options.json else render(view, label)
        console.data(text)
        # Where something would run, running it changes the answer, and no file would tell.
        if all(item.status == "cached" for item in view.prospects):
            fast.remember(workplace, view.facts, text)
    return 0


def render(view: PlanView, label: str = "") -> str:
    """Write each step (or the one with that label) with all its causes, one a line."""
    lines: list[str] = []
    shown = []
    for name, item in zip(name_steps(view), view.prospects, strict=True):
        if label and item.step.label != label:
            continue
        shown.append(item)
        lines.append(f"{name}: {STATES[item.status]}")
        lines += [f"    {cause}" for cause in _causes(item)]
    if not label:
        lines += ["", count(shown)]
    return "\n".join(lines)


def _causes(item: Prospect) -> Iterator[str]:
    if item.trace is None:
        yield from item.causes
        return
    trace = item.trace
    # With its offset: the text may be shown again where the clock is set otherwise.
    made = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(trace.made))
    yield f"made {made} by build {trace.build} in {trace.seconds:.2f} s"
    yield from explain_rules(trace.notes)
    if item.varied:
        yield f"not reproducible: {item.varied} runs with the same inputs gave different results"
    files = [name.removeprefix("./") for kind, name, _ in trace.observations if kind == "file"]
    if files:
        more = f" and {len(files) - SHOWN} more files" if len(files) > SHOWN else ""
        yield f"read {', '.join(files[:SHOWN])}{more}, unchanged since"


def _to_json(view: PlanView, label: str) -> str:
    body = view.to_json()
    if label:
        # The steps that it starts from stay, since `inputs` are numbers in this list.
        number = next(
            index for index, item in enumerate(view.prospects) if item.step.label == label
        )
        body["step"] = number
    return json.dumps(body, indent=2)
