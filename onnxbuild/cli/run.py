"""Bring the published models of recipes up to date."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from onnxbuild import api
from onnxbuild.cli import console, fast
from onnxbuild.cli.arguments import add_json, add_recipes, at_least_one, split
from onnxbuild.cli.progress import watch
from onnxbuild.cli.summary import summarize
from onnxbuild.core.events import Event, StepCached, StepFailed, StepRan
from onnxbuild.errors import UsageError
from onnxbuild.joining import How
from onnxbuild.report.result import BuildResult
from onnxbuild.workplace import Workplace, open_workplace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``run``."""
    add_recipes(parser)
    add_json(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show the plan")
    parser.add_argument(
        "-j", "--jobs", type=at_least_one, metavar="N", help="steps that run at once"
    )
    parser.add_argument(
        "-k", "--keep-going", action="store_true", default=None,
        help="after a failure, still run what does not depend on it",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", default=[], metavar="STAGE", help="publish only this variant"
    )
    parser.add_argument(
        "--rerun",
        action="append",
        default=[],
        metavar="STEP",
        help="run this step even if it is cached",
    )
    parser.add_argument(
        "--locked",
        action="store_true",
        help="publish what the lock file beside the recipe says, or fail",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="run every step, as if nothing were cached"
    )
    parser.add_argument(
        "--check-reproducible",
        action="store_true",
        help="then build all again in a copy elsewhere, and compare",
    )


def main(options: argparse.Namespace) -> int:
    """Build, and print what came of it."""
    if options.dry_run:
        return _plan(options)
    recipes, overrides = split(options.words)
    with (
        open_workplace(
            recipes, overrides, only=options.only, multirun=options.multirun
        ) as workplace,
        watch(workplace.call, quiet=options.json) as show_event,
    ):
        ended: list[dict[str, object]] = []

        def listen(event: Event) -> None:
            ended.extend(_note(event, workplace))
            show_event(event)

        try:
            how = _read_how(options, workplace)
            built = api.build(workplace, how, listen)
            result = built.result
            if options.check_reproducible:
                result = api.repeat(workplace, built, how, show_event)
        except KeyboardInterrupt:
            if options.json:
                console.data(json.dumps(_interrupted(ended), indent=2))
            raise
    words = ["-m", *options.words] if options.multirun else options.words
    show(result, words, as_json=options.json)
    runs_again = bool(options.rerun) or options.no_cache or options.check_reproducible
    if runs_again and result.varied:
        fast.forget()
    if result.status == "ok" and result.kept and not runs_again:
        again = result.as_cached()
        fast.remember(workplace, built.facts, *_write(again, as_json=options.json))
    return result.exit_code


def _plan(options: argparse.Namespace) -> int:
    """Only show the plan. Raises `UsageError` for what only a build can find out."""
    from onnxbuild.cli import plan

    for word, is_asked in (
        ("--locked", options.locked),
        ("--check-reproducible", options.check_reproducible),
    ):
        if is_asked:
            raise UsageError(
                f"{word} compares what is built, and --dry-run builds nothing",
                hint="leave out one of them",
            )
    return plan.main(options)


def _read_how(options: argparse.Namespace, workplace: Workplace) -> How:
    recipes, overrides = split(options.words)
    return How(
        jobs=options.jobs,
        keep_going=options.keep_going,
        rerun=options.rerun,
        no_cache=options.no_cache,
        locks=api.find_locks(workplace, recipes, overrides) if options.locked else {},
    )


def _note(event: Event, workplace: Workplace) -> Iterator[dict[str, object]]:
    """Give the end of a step as ``--json`` has it."""
    match event:
        case StepRan(step, seconds):
            status = "ran"
        case StepCached(step):
            status, seconds = "cached", 0.0
        case StepFailed(step, _):
            status, seconds = "failed", 0.0
        case _:
            return
    yield {
        "label": step.label,
        "recipe": workplace.plan.owner(step),
        "status": status,
        "seconds": round(seconds, 3),
        "reason": "",
    }


def _interrupted(ended: list[dict[str, object]]) -> dict[str, object]:
    """Give what ``--json`` prints of a build that was interrupted."""
    error = {"what": "interrupted", "where": "", "hint": "what had finished is kept; run again"}
    return {"status": "failed", "recipes": [], "steps": ended, "errors": [error]}


def _write(result: BuildResult, *, as_json: bool) -> tuple[str, str]:
    """Write what goes to stdout and what goes to stderr."""
    text = json.dumps(result.to_json(), indent=2) if as_json else summarize(result)
    return text, "\n".join(f"warning: {what}" for what in result.warnings)


def show(result: BuildResult, words: Sequence[str], *, as_json: bool) -> None:
    """Print what came of a build that was asked for with these words."""
    # What came up was shown as it did, but to programs.
    shown = result if as_json else replace(result, said=())
    data, talk = _write(shown, as_json=as_json)
    console.data(data)
    if talk:
        console.talk(talk)
    if as_json:
        return
    for problem in result.errors:
        console.talk("")
        console.talk(console.describe(problem.what, problem.where, problem.hint))
        if problem.traceback:
            console.talk("  " + problem.traceback.rstrip().replace("\n", "\n  "))
    for step in result.steps:
        if step.status == "failed":
            console.talk(f"\nwhat it printed: onnxbuild log {shlex.join([step.label, *words])}")
