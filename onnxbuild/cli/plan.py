"""Show the steps that would build recipes: cached, to run, or maybe.

Runs no user code. A step whose input is not known yet *may run*: only if what comes before it gives another result.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace

from onnxbuild import api
from onnxbuild.cli import console, fast
from onnxbuild.cli.arguments import add_json, add_only, add_recipes, split
from onnxbuild.cli.steps import count, name_steps
from onnxbuild.cli.wrapping import break_columns
from onnxbuild.core.quantities import show_seconds, show_size
from onnxbuild.engine.explain import in_one_line
from onnxbuild.engine.forecast import Forecast, Outlook
from onnxbuild.planner import find_label
from onnxbuild.report.view import PlanView
from onnxbuild.workplace import open_workplace

STATES = {"cached": "cached", "run": "would run", "may run": "may run"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``plan``."""
    add_recipes(parser)
    add_json(parser)
    add_only(parser)


def main(options: argparse.Namespace) -> int:
    """Look at the plan and print it. Also what ``run --dry-run`` does."""
    recipes, overrides = split(options.words)
    rerun = getattr(options, "rerun", [])
    all_run = getattr(options, "no_cache", False)
    with open_workplace(
        recipes, overrides, only=options.only, multirun=options.multirun, look=True
    ) as workplace:
        jobs = getattr(options, "jobs", None)
        view = force(api.view(workplace, jobs), rerun, all_run=all_run)
        if rerun or all_run:
            view = api.foresee(workplace, view, jobs)
        text = json.dumps(view.to_json(), indent=2) if options.json else render(view)
        console.data(text)
        # Where something would run, running it changes the answer, and no file would tell.
        if not (rerun or all_run) and all(item.status == "cached" for item in view.prospects):
            fast.remember(workplace, view.facts, text)
    return 0


def force(view: PlanView, rerun: Sequence[str], *, all_run: bool = False) -> PlanView:
    """Give the plan as it is when the steps named in `rerun`, or all, must run. Raises `UsageError`."""
    if not (rerun or all_run):
        return view
    labels = [item.step.label for item in view.prospects]
    forced = {*labels} if all_run else {find_label(word, labels) for word in rerun}
    doubtful: dict[int, str] = {}
    prospects = []
    for item in view.prospects:
        before = [
            doubtful[id(output.step)]
            for output in item.step.inputs.values()
            if id(output.step) in doubtful
        ]
        if item.step.label in forced:
            item = replace(item, status="run", causes=("asked to run again",), trace=None)  # noqa: PLW2901
        elif before and item.status == "cached":
            causes = (f"if {' or '.join(dict.fromkeys(before))} gives another result",)
            item = replace(item, status="may run", causes=causes, trace=None)  # noqa: PLW2901
        if item.status != "cached":
            doubtful[id(item.step)] = item.step.label
        prospects.append(item)
    return replace(view, prospects=tuple(prospects))


def render(view: PlanView) -> str:
    """Write the table of steps and the line that counts them."""
    rows = [
        [
            f"{name} (may grow)" if item.step.may_grow else name,
            STATES[item.status],
            in_one_line(item.causes),
        ]
        for name, item in zip(name_steps(view), view.prospects, strict=True)
    ]
    header = ["step", "state", "why"]
    table = console.table(header, break_columns(header, rows, (0, len(header) - 1)))
    counted = count(view.prospects)
    return (
        f"{table}\n\n{counted}\n{_tell(view.outlook)}" if view.outlook else f"{table}\n\n{counted}"
    )


def _tell(outlook: Outlook) -> str:
    """Say what the build would take, as far as earlier runs tell."""
    sure, most = outlook.sure, outlook.most
    if not most.known:
        return "nothing is known yet of how long that takes"
    parts = [f"about {_take(sure, outlook)}"] if sure.known else []
    if most.steps > sure.steps:
        parts.append(f"{_take(most, outlook)} if all of them run")
    told = "; ".join(parts)
    unknown = most.steps - most.known
    return f"{told}; nothing is known of {unknown} of them" if unknown else told


def _take(forecast: Forecast, outlook: Outlook) -> str:
    return (
        f"{show_seconds(forecast.seconds + outlook.overhead)}, {show_size(forecast.memory)} of memory,"
        f" {show_size(forecast.stored + outlook.published)} of disk"
    )
