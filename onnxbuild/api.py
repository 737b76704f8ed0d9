"""The functions behind the commands; Python code gets the same as values."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, TypeAlias

from onnxbuild.compose import Composition, compose_all
from onnxbuild.compose import validate as find_mistakes
from onnxbuild.core.events import Event, Listener, Said, StepStarted
from onnxbuild.core.facts import digest_variable, installed, normalize
from onnxbuild.core.ports import Executor, Outcome
from onnxbuild.core.step import Step
from onnxbuild.core.trace import Fact, Trace
from onnxbuild.engine.build import Build
from onnxbuild.engine.explain import explain_missing, in_one_line
from onnxbuild.engine.preview import Prospect, preview
from onnxbuild.engine.setting import Site
from onnxbuild.errors import OnnxbuildError, StoreError, UsageError
from onnxbuild.observe.witness import NetWitness
from onnxbuild.planner import Plan, find_label, make_plan
from onnxbuild.project import store_folder
from onnxbuild.recipe.schema import Recipe, Settings
from onnxbuild.registry import resolve
from onnxbuild.report.delivery import Delivery
from onnxbuild.report.endings import find_status, list_failures, list_steps
from onnxbuild.report.result import BuildResult
from onnxbuild.stores.actions import DamagedCacheError, LogEntry
from onnxbuild.stores.local import LocalStore

Path: TypeAlias = str | os.PathLike[str]
Recipes: TypeAlias = Path | Sequence[Path]
"""One recipe, or several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Recipes that are read and planned, with the store that they build in."""

    compositions: tuple[Composition, ...]
    plan: Plan
    store: LocalStore
    site: Site
    settings: Settings

    @property
    def recipes(self) -> dict[str, Recipe]:
        """The recipes by name."""
        return {item.recipe.name: item.recipe for item in self.compositions}

    def latest(self) -> dict[str, str]:
        """Give the keys with which the steps of these recipes were last built."""
        found: dict[str, str] = {}
        for name in self.recipes:
            found.update(self.store.actions.latest(name))
        return found

    def why(
        self,
        step: Step,
        ingredients: Mapping[str, Any],
        traces: Sequence[Trace],
        latest: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Name the causes for which a step must run; `latest` is what `latest()` gave before the build."""
        key = (self.latest() if latest is None else latest).get(identify(step))
        previous = self.store.traces(key)[-1:] if key else ()
        return explain_missing(
            ingredients,
            traces,
            previous[0] if previous else None,
            self.site.root,
            self.site.roots,
            self.store.known_files(),
            self.site.ignored,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """A plan, with what a build would do with each step."""

    plan: Plan
    prospects: tuple[Prospect, ...]
    facts: tuple[Fact, ...]
    """What this answer depends on."""

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
            ]
        }


def list_paths(recipes: Recipes) -> list[str]:
    """Give the paths of one recipe, or of several."""
    several = [recipes] if isinstance(recipes, str | os.PathLike) else recipes
    return [os.fspath(path) for path in several]


def identify(step: Step) -> str:
    """Name a step between builds, so that `explain` finds what it was before."""
    return f"{step.label}|{step.run}"


@contextmanager
def open_workplace(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    multirun: bool = False,
    look: bool = False,
) -> Iterator[Workplace]:
    """Read and plan recipes. Raises `RecipeError` with all mistakes, or another `UsageError`.

    With `multirun` overrides may be sweeps. Who only wants to `look` needs no store that can be written.
    """
    paths = list_paths(recipes)
    if not paths:
        raise UsageError("no recipe was named", hint="onnxbuild run recipe.yaml")
    words = [overrides] if isinstance(overrides, str) else overrides
    compositions = compose_all(paths, words, multirun=multirun)
    plan = make_plan([item.recipe for item in compositions], only)
    settings = compositions[0].recipe.settings
    with _open_store(store_folder(compositions[0].root, settings.store), look=look) as store:
        yield Workplace(
            compositions=compositions,
            plan=plan,
            store=store,
            site=find_site(compositions, store.root),
            settings=settings,
        )


@contextmanager
def _open_store(folder: str, *, look: bool) -> Iterator[LocalStore]:
    """Open a store. Where there is none and none can be made, an empty one is as good to look at."""
    with ExitStack() as stack:
        try:
            store = LocalStore(folder)
        except StoreError:
            if not look or os.path.exists(folder):
                raise
            store = LocalStore(stack.enter_context(TemporaryDirectory(prefix="onnxbuild-")))
        stack.callback(store.close)
        yield store


def find_site(compositions: Sequence[Composition], store: str) -> Site:
    """Say where the project of recipes lies, and what in it is none of a step's business."""
    root, settings = compositions[0].root, compositions[0].recipe.settings
    roots: dict[str, str] = {}
    for item in compositions:
        roots.update(item.recipe.roots)
    return Site(
        root=root,
        roots={name: os.path.abspath(os.path.join(root, path)) for name, path in roots.items()},
        ignored=(store, os.path.join(root, ".onnxbuild"), os.path.join(root, settings.artifacts)),
        variables=dict(os.environ),
    )


def run(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    jobs: int | None = None,
    keep_going: bool | None = None,
    only: Sequence[str] = (),
    rerun: Sequence[str] = (),
    multirun: bool = False,
    listen: Listener = lambda _: None,
) -> BuildResult:
    """Bring the published models of recipes up to date; with `multirun` at each point of a sweep.

    Raises `UsageError` (with `RecipeError`) for a wrong call or recipe. What fails in a step, or misses a
    gate, is in the result.
    """
    with open_workplace(recipes, overrides, only=only, multirun=multirun) as workplace:
        result, _ = build(workplace, jobs=jobs, keep_going=keep_going, rerun=rerun, listen=listen)
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
    settings, plan, store = workplace.settings, workplace.plan, workplace.store
    forced = {find_label(word, [step.label for step in plan.steps]) for word in rerun}
    if jobs is not None and jobs < 1:
        raise UsageError(f"steps that run at once must be at least 1, not {jobs}")
    outcomes: SimpleQueue[tuple[str, Outcome]] = SimpleQueue()
    slots = jobs or settings.jobs or os.cpu_count() or 1
    executor: Executor = resolve("executors", settings.executor)(
        lambda name, outcome: outcomes.put((name, outcome)), slots
    )
    latest = workplace.latest()

    def why(step: Step, ingredients: Mapping[str, Any], traces: Sequence[Trace]) -> str:
        return in_one_line(workplace.why(step, ingredients, traces, latest))

    writer = Thread(target=import_module, args=("onnxbuild.graph.save",))

    def hear_start(event: Event) -> None:
        # While workers work, load what publishing will need. Not inline: that forks.
        if (
            isinstance(event, StepStarted)
            and writer.ident is None
            and settings.executor != "inline"
        ):
            writer.start()
        hear(event)

    with (
        store.folder() as folder,
        NetWitness(workplace.site.root, workplace.site.ignored) as witness,
    ):
        process = Build(
            plan.steps,
            store=store,
            executor=executor,
            outcomes=outcomes,
            site=workplace.site,
            jobs=slots,
            keep_going=settings.keep_going if keep_going is None else keep_going,
            timeout=settings.timeout,
            rerun=lambda step: step.label in forced,
            why=why,
            listen=hear_start,
            witness=witness,
            folder=folder,
        )
        try:
            process.run()
            if store.actions.dropped:
                hear(
                    Said(
                        f"{store.actions.dropped} traces in the store are damaged; their steps are built again"
                    )
                )
            if witness.gap:
                hear(Said(f"what native code reads may go unseen: {witness.gap}"))
            note_logs(workplace, process)
            delivery = Delivery(plan, process, store, workplace.recipes, workplace.site.root, hear)
            published = delivery.deliver(settings.artifacts)
        finally:
            executor.close()
            process.close()
            if writer.ident is not None:
                writer.join()
    note_latest(workplace, process)
    result = BuildResult(
        status=find_status(published.problems, process),
        recipes=published.recipes,
        steps=tuple(list_steps(plan, process)),
        errors=(*list_failures(plan, process), *published.problems),
        said=tuple(said),
        seconds=time.monotonic() - began,
    )
    return result, (*workplace_facts(workplace), *build_facts(process), *published.facts)


def plan(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    multirun: bool = False,
) -> PlanView:
    """Say which steps a build would run. Runs no user code. Raises `UsageError`."""
    with open_workplace(recipes, overrides, only=only, multirun=multirun, look=True) as workplace:
        return view(workplace)


def explain(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    multirun: bool = False,
) -> PlanView:
    """Say why each step would run, or what serves it. The same values as `plan`."""
    return plan(recipes, overrides, only=only, multirun=multirun)


def validate(
    recipes: Recipes, overrides: str | Sequence[str] = (), *, multirun: bool = False
) -> tuple[OnnxbuildError, ...]:
    """Give all mistakes in recipes; none where they are right. Runs no user code."""
    words = [overrides] if isinstance(overrides, str) else overrides
    return tuple(find_mistakes(list_paths(recipes), words, multirun=multirun))


def view(workplace: Workplace) -> PlanView:
    """Look at a plan without running a step."""
    prospects = preview(workplace.plan.steps, workplace.store, workplace.site, workplace.why)
    facts = set(workplace_facts(workplace))
    for item in prospects:
        facts.update(step_facts(item.step))
        facts.update(item.trace.observations if item.trace else ())
    return PlanView(plan=workplace.plan, prospects=tuple(prospects), facts=tuple(sorted(facts)))


def workplace_facts(workplace: Workplace) -> tuple[Fact, ...]:
    """Give what reading the recipes was seen to depend on."""
    return tuple(fact for item in workplace.compositions for fact in item.facts)


def step_facts(step: Step) -> tuple[Fact, ...]:
    """Give what the key of a step depends on outside of the recipe."""
    return (
        *(
            ("package", normalize(name), installed().get(normalize(name), ""))
            for name in step.libraries
        ),
        *(("variable", name, digest_variable(name)) for name in step.variables),
    )


def build_facts(process: Build) -> tuple[Fact, ...]:
    """Give what the results of a build depend on, over all its steps."""
    facts: set[Fact] = set()
    for record in process.records:
        facts.update(step_facts(record.step))
        facts.update(record.trace.observations if record.trace else ())
    return tuple(sorted(facts))


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
