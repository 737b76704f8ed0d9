"""The functions behind the commands; Python code gets the same as values."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from queue import SimpleQueue
from threading import Thread
from typing import Any

from onnxbuild.compose import validate as find_mistakes
from onnxbuild.core.events import Event, Listener, Said, StepStarted
from onnxbuild.core.facts import digest_variable
from onnxbuild.core.ports import ASKED, Executor, Outcome
from onnxbuild.core.step import Step
from onnxbuild.core.trace import Fact
from onnxbuild.engine.build import Build
from onnxbuild.engine.explain import in_one_line
from onnxbuild.engine.forecast import Cost
from onnxbuild.engine.forecast import foresee as foresee_steps
from onnxbuild.engine.preview import Prospect, preview
from onnxbuild.errors import OnnxbuildError, UsageError
from onnxbuild.observe.witness import NetWitness
from onnxbuild.outlook import START, Outlook, Room, look_ahead
from onnxbuild.planner import Plan, find_label
from onnxbuild.recipe.schema import Collecting
from onnxbuild.registry import resolve
from onnxbuild.report.delivery import Delivery
from onnxbuild.report.endings import find_status, list_failures, list_steps
from onnxbuild.report.result import BuildResult
from onnxbuild.stores.actions import LogEntry
from onnxbuild.stores.database import DamagedCacheError
from onnxbuild.workplace import (
    Recipes,
    Workplace,
    identify,
    list_paths,
    list_words,
    open_workplace,
    step_facts,
    workplace_facts,
)

DAMAGED_TRACES = "traces in the store are damaged; their steps are built again"


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


def run(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    jobs: int | None = None,
    keep_going: bool | None = None,
    only: str | Sequence[str] = (),
    rerun: str | Sequence[str] = (),
    multirun: bool = False,
    listen: Listener = lambda _: None,
) -> BuildResult:
    """Bring the published models of recipes up to date; with `multirun` at each point of a sweep.

    Raises `UsageError` (with `RecipeError`) for a wrong call or recipe. What fails in a step, or misses a
    gate, is in the result.
    """
    with open_workplace(recipes, overrides, only=only, multirun=multirun) as workplace:
        result, _ = build(
            workplace, jobs=jobs, keep_going=keep_going, rerun=list_words(rerun), listen=listen
        )
        return result


def build(
    workplace: Workplace,
    *,
    jobs: int | None = None,
    keep_going: bool | None = None,
    rerun: Sequence[str] = (),
    listen: Listener = lambda _: None,
) -> tuple[BuildResult, tuple[Fact, ...]]:
    """Build what is planned; give the result and the facts on which it rests."""
    said: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Said):
            said.append(event.what)
        listen(event)

    try:
        return _build(workplace, jobs, keep_going, rerun, hear, said)
    except DamagedCacheError as error:
        aside = workplace.store.set_aside()
        hear(Said(f"{error.what}; it was put aside as {aside}, and what it knew is built again"))
        return _build(workplace, jobs, keep_going, rerun, hear, said)


def _build(
    workplace: Workplace,
    jobs: int | None,
    keep_going: bool | None,
    rerun: Sequence[str],
    hear: Listener,
    said: Sequence[str],
) -> tuple[BuildResult, tuple[Fact, ...]]:
    began = time.monotonic()
    plan, store = workplace.plan, workplace.store
    with _process(workplace, jobs, keep_going, rerun, hear) as process:
        process.run()
        if store.actions.dropped:
            hear(Said(f"{store.actions.dropped} {DAMAGED_TRACES}"))
        note_logs(workplace, process)
        delivery = Delivery(plan, process, store, workplace.recipes, workplace.site.root, hear)
        published = delivery.deliver(workplace.settings.artifacts)
        store.use(record.trace for record in process.records if record.trace is not None)
    note_latest(workplace, process)
    note_start(workplace, process, time.monotonic() - began)
    if workplace.settings.gc and any(record.status == "ran" for record in process.records):
        collect_by_itself(workplace)
    result = BuildResult(
        status=find_status(published.problems, process),
        recipes=published.recipes,
        steps=tuple(list_steps(plan, process)),
        errors=(*list_failures(plan, process), *published.problems),
        said=tuple(said),
        kept=all(record.kept for record in process.records),
        varied=tuple(
            f"{record.step.label} is not reproducible: {record.varied} runs with the same inputs gave"
            " different results; the first is used"
            for record in process.records
            if record.varied
        ),
        leftover=published.leftover,
        withheld=tuple(name for name in asked_variables(process) if name in os.environ),
        seconds=time.monotonic() - began,
    )
    return result, (*workplace_facts(workplace), *build_facts(process), *published.facts)


@contextmanager
def _process(
    workplace: Workplace,
    jobs: int | None,
    keep_going: bool | None,
    rerun: Sequence[str],
    hear: Listener,
) -> Iterator[Build]:
    """Join a plan, its store, an executor and a witness for the time of one build."""
    settings, site, store = workplace.settings, workplace.site, workplace.store
    if jobs is not None and jobs < 1:
        raise UsageError(f"steps that run at once must be at least 1, not {jobs}")
    slots = jobs or settings.jobs or os.cpu_count() or 1
    forced = {find_label(word, [step.label for step in workplace.plan.steps]) for word in rerun}
    latest = workplace.latest()
    outcomes: SimpleQueue[tuple[str, Outcome]] = SimpleQueue()
    executor: Executor = resolve("executors", settings.executor)(
        lambda name, outcome: outcomes.put((name, outcome)), slots
    )
    with (
        store.lease(),
        store.folder() if store.is_writable else nullcontext("") as folder,
        NetWitness(site.root, site.ignored) as witness,
        # Inline executors fork, and a fork amid an import never gets past it.
        _writer_loading(hear, may_load=settings.executor != "inline") as listen,
    ):
        room = Room(
            workplace,
            lambda: view(workplace).prospects,
            lambda fitting, asked: _narrow(process, hear, fitting, asked),
            slots=slots,
        )
        process = Build(
            workplace.plan.steps,
            store=store,
            executor=executor,
            outcomes=outcomes,
            site=site,
            jobs=slots,
            keep_going=settings.keep_going if keep_going is None else keep_going,
            timeout=settings.timeout,
            rerun=lambda step: step.label in forced,
            why=lambda step, made_of, traces: in_one_line(
                workplace.why(step, made_of, traces, latest)
            ),
            listen=listen,
            witness=witness,
            folder=folder,
            refuse=room.refuse if settings.forecast else lambda _: None,
        )
        try:
            yield process
            if witness.gap:
                hear(Said(f"what native code reads may go unseen: {witness.gap}"))
        finally:
            executor.close()
            process.close()


def _narrow(process: Build, hear: Listener, fitting: int, asked: int) -> None:
    process.scheduler.jobs = fitting
    hear(Said(f"{fitting} steps at once instead of {asked}: more do not fit into memory"))


@contextmanager
def _writer_loading(hear: Listener, *, may_load: bool) -> Iterator[Listener]:
    """Give a listener that, when the first step starts, begins to load what publishing will need."""
    writer = Thread(target=import_module, args=("onnxbuild.graph.save",))

    def listen(event: Event) -> None:
        if may_load and isinstance(event, StepStarted) and writer.ident is None:
            writer.start()
        hear(event)

    try:
        yield listen
    finally:
        if writer.ident is not None:
            writer.join()


def plan(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    only: str | Sequence[str] = (),
    multirun: bool = False,
) -> PlanView:
    """Say which steps a build would run. Runs no user code. Raises `UsageError`."""
    with open_workplace(recipes, overrides, only=only, multirun=multirun, look=True) as workplace:
        return view(workplace)


def explain(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    only: str | Sequence[str] = (),
    multirun: bool = False,
) -> PlanView:
    """Say why each step would run, or what serves it. The same values as `plan`."""
    return plan(recipes, overrides, only=only, multirun=multirun)


def validate(
    recipes: Recipes, overrides: str | Sequence[str] = (), *, multirun: bool = False
) -> tuple[OnnxbuildError, ...]:
    """Give all mistakes in recipes; none where they are right. Runs no user code."""
    words = list_words(overrides)
    return tuple(find_mistakes(list_paths(recipes), words, multirun=multirun))


def view(workplace: Workplace, jobs: int | None = None) -> PlanView:
    """Look at a plan without running a step."""
    latest = workplace.latest()
    prospects = preview(
        workplace.plan.steps,
        workplace.store,
        workplace.site,
        lambda step, made_of, traces: workplace.why(step, made_of, traces, latest),
        lambda step: workplace.previous(step, latest),
    )
    facts = set(workplace_facts(workplace))
    for item in prospects:
        facts.update(step_facts(item.step))
        facts.update(item.trace.observations if item.trace else ())
    found = PlanView(plan=workplace.plan, prospects=tuple(prospects), facts=tuple(sorted(facts)))
    return foresee(workplace, found, jobs)


def foresee(workplace: Workplace, view: PlanView, jobs: int | None = None) -> PlanView:
    """Add to a plan what it would take to build."""
    if all(item.status == "cached" for item in view.prospects):
        return view
    slots = jobs or workplace.settings.jobs or os.cpu_count() or 1
    return replace(view, outlook=look_ahead(workplace, view.prospects, slots))


def collect_by_itself(workplace: Workplace) -> None:
    """Keep the store within the bounds that the settings give it."""
    # Loaded here: most builds collect nothing.
    from onnxbuild.core.quantities import read_age, read_size
    from onnxbuild.stores.collect import Bounds, collect

    said = workplace.settings.gc or Collecting()
    bounds = Bounds(
        max_size=None if said.max_size is None else read_size(said.max_size),
        older_than=None if said.older_than is None else read_age(said.older_than),
    )
    collect(workplace.store, bounds)


def build_facts(process: Build) -> tuple[Fact, ...]:
    """Give what the results of a build, and what is said of them, depend on, over all its steps."""
    facts: set[Fact] = {
        ("variable", name, digest_variable(name)) for name in asked_variables(process)
    }
    for record in process.records:
        facts.update(step_facts(record.step))
        facts.update(record.trace.observations if record.trace else ())
    return tuple(sorted(facts))


def asked_variables(process: Build) -> list[str]:
    """Name the environment variables that project code asked for and did not get."""
    traces = [record.trace for record in process.records if record.trace is not None]
    return sorted({name for trace in traces for name in trace.notes.get(ASKED, ())})


def note_start(workplace: Workplace, process: Build, seconds: float) -> None:
    """Remember what the build took besides its steps, for the next forecast."""
    traces = {id(record.step): record.trace for record in process.records if record.status == "ran"}
    if not traces:
        return

    def cost_of(step: Step) -> Cost | None:
        trace = traces[id(step)]
        return None if trace is None else Cost(seconds=trace.seconds, memory=0, stored=0)

    steps = [record.step for record in process.records if id(record.step) in traces]
    spent = foresee_steps(steps, process.scheduler.jobs, cost_of).seconds
    workplace.store.actions.note_cost(START, max(0.0, seconds - spent))


def note_latest(workplace: Workplace, process: Build) -> None:
    """Remember with which key each step was built, for the next explanation."""
    keys: dict[str, dict[str, str]] = {}
    for record in process.records:
        if record.status in {"ran", "cached"}:
            for name in workplace.plan.owners.get(id(record.step), ()):
                keys.setdefault(name, {})[identify(record.step)] = record.key
    for name, noted in keys.items():
        if workplace.store.actions.latest(name).items() >= noted.items():
            continue
        workplace.store.actions.note_latest(name, noted)


def note_logs(workplace: Workplace, process: Build) -> None:
    """Remember what each step printed when it last ran, or failed, for ``onnxbuild log``."""
    entries: dict[str, dict[str, LogEntry]] = {}
    for record in process.records:
        if record.status == "failed":
            entry = ("failed", record.log, time.time())
        elif record.trace is not None:
            entry = ("ran", record.trace.log, record.trace.made)
        else:
            continue
        # Steps that a step answered with are no part of the plan: they count for every recipe.
        for name in workplace.plan.owners.get(id(record.step)) or workplace.recipes:
            entries.setdefault(name, {})[record.step.label] = entry
    actions = workplace.store.actions
    for name, noted in entries.items():
        if not actions.logs(name).items() >= noted.items():
            actions.note_logs(name, noted)
