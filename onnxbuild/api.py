"""The functions behind the commands; Python code gets the same as values."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from importlib import import_module
from queue import SimpleQueue
from threading import Thread

from onnxbuild.compose import validate as find_mistakes
from onnxbuild.core.events import Event, Listener, Repeats, Said, StepStarted
from onnxbuild.core.ports import Executor, Outcome
from onnxbuild.core.trace import Fact
from onnxbuild.engine.build import Build
from onnxbuild.engine.copying import copied
from onnxbuild.engine.explain import in_one_line
from onnxbuild.engine.preview import preview
from onnxbuild.engine.setting import Record
from onnxbuild.errors import OnnxbuildError, UsageError
from onnxbuild.observe.witness import NetWitness
from onnxbuild.outlook import Room, look_ahead, note_start
from onnxbuild.planner import find_label
from onnxbuild.project import lock_path
from onnxbuild.registry import resolve
from onnxbuild.report.delivery import Delivery
from onnxbuild.report.endings import find_status, list_failures, list_steps
from onnxbuild.report.lock import Locking, make_lock, write_lock
from onnxbuild.report.locked import Locked, read_locks
from onnxbuild.report.repeating import compare_builds
from onnxbuild.report.result import BuildResult
from onnxbuild.report.view import PlanView
from onnxbuild.stores.database import DamagedCacheError
from onnxbuild.workplace import (
    Recipes,
    Workplace,
    asked_variables,
    build_facts,
    collect_by_itself,
    list_paths,
    list_words,
    note_latest,
    note_logs,
    open_store,
    open_workplace,
    step_facts,
    workplace_facts,
)

OTHER_SEED = "1"
"""What a build that is repeated hashes texts by: any but the seed that workers have else."""

DAMAGED_TRACES = "traces in the store are damaged; their steps are built again"


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a build goes about it: what is asked of this one call."""

    jobs: int | None = None
    """Steps that run at once; None for what the settings say."""

    keep_going: bool | None = None
    """After a failure, still run what does not depend on it; None for what the settings say."""

    rerun: Sequence[str] = ()
    """Steps that run even if they are cached."""

    no_cache: bool = False
    """All steps do."""

    locks: Mapping[str, Locked] = field(default_factory=dict)
    """By recipe, what its published models must be."""


DEFAULT = How()


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of a build."""

    result: BuildResult
    facts: tuple[Fact, ...]
    """What the result rests on."""

    records: tuple[Record, ...]
    """How each step ended, those that others grew into too."""


def run(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    jobs: int | None = None,
    keep_going: bool | None = None,
    only: str | Sequence[str] = (),
    rerun: str | Sequence[str] = (),
    no_cache: bool = False,
    locked: bool = False,
    check_reproducible: bool = False,
    multirun: bool = False,
    listen: Listener = lambda _: None,
) -> BuildResult:
    """Bring the published models of recipes up to date; with `multirun` at each point of a sweep.

    `rerun` names steps that run even if they are cached; with `no_cache` all do. What they give is kept beside
    what they gave before, and the first is used. With `locked` nothing is published but what the recipe's lock
    file says, see `lock`. With `check_reproducible` all is built a second time, see `repeat`.

    Raises `UsageError` (with `RecipeError`) for a wrong call or recipe. What fails in a step, or misses a
    gate, is in the result.
    """
    with open_workplace(recipes, overrides, only=only, multirun=multirun) as workplace:
        how = How(
            jobs=jobs,
            keep_going=keep_going,
            rerun=list_words(rerun),
            no_cache=no_cache,
            locks=find_locks(workplace, recipes, overrides) if locked else {},
        )
        built = build(workplace, how, listen)
        return repeat(workplace, built, how, listen) if check_reproducible else built.result


def repeat(
    workplace: Workplace, built: Built, how: How, listen: Listener = lambda _: None
) -> BuildResult:
    """Build all steps a second time, and give the result of the first with what came of that.

    In a copy of what they were seen to read, elsewhere, with a store of its own and with sets in another
    order. What came of it is thrown away. Where the first build went wrong, nothing is built again.
    """
    if built.result.status != "ok":
        return built.result
    settings, facts = workplace.settings, set(workplace_facts(workplace))
    for record in built.records:
        facts.update(record.trace.observations if record.trace else ())
    how = How(jobs=how.jobs, keep_going=True)
    listen(Repeats())
    with (
        copied(workplace.site, settings.artifacts, facts) as site,
        open_store(site.ignored[0], look=False) as store,
        _process(
            replace(workplace, site=site, store=store), how, listen, hash_seed=OTHER_SEED
        ) as process,
    ):
        process.run()
        repeated = compare_builds(
            built.records, process.records, workplace.store, store, workplace.call
        )
    return built.result.with_repeated(repeated)


def lock(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    jobs: int | None = None,
    keep_going: bool | None = None,
    listen: Listener = lambda _: None,
) -> Locking:
    """Bring models up to date as `run` does; if all are, write what they are into a file beside each recipe.

    Raises `UsageError` as `run` does.
    """
    words = list_words(overrides)
    with open_workplace(recipes, words) as workplace:
        result = build(workplace, How(jobs=jobs, keep_going=keep_going), listen).result
        names = [item.recipe.name for item in workplace.compositions]
    paths = dict(zip(list_paths(recipes), names, strict=True)) if result.status == "ok" else {}
    locks = {path: make_lock(result.recipes[name], words) for path, name in paths.items()}
    written = [path for path, made in locks.items() if write_lock(path, made)]
    return Locking(
        build=result,
        locks={lock_path(path): made for path, made in locks.items()},
        written=tuple(map(lock_path, written)),
    )


def find_locks(
    workplace: Workplace, recipes: Recipes, overrides: str | Sequence[str]
) -> dict[str, Locked]:
    """Read the locks of the recipes in a workplace. Raises `UsageError` where one has none."""
    paths, names = list_paths(recipes), [item.recipe.name for item in workplace.compositions]
    if len(paths) != len(names):
        raise UsageError(
            "a lock holds one state of a recipe, and a sweep is several",
            hint="leave out --multirun, or --locked",
        )
    return read_locks(paths, names, list_words(overrides), workplace.site.root)


def build(workplace: Workplace, how: How = DEFAULT, listen: Listener = lambda _: None) -> Built:
    """Build what is planned, and publish what passes."""
    said: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Said):
            said.append(event.what)
        listen(event)

    try:
        return _build(workplace, how, hear, said)
    except DamagedCacheError as error:
        aside = workplace.store.set_aside()
        if aside:
            hear(
                Said(f"{error.what}; it was put aside as {aside}, and what it knew is built again")
            )
        return _build(workplace, how, hear, said)


def _build(workplace: Workplace, how: How, hear: Listener, said: Sequence[str]) -> Built:
    began = time.monotonic()
    plan, store = workplace.plan, workplace.store
    with _process(workplace, how, hear) as process:
        process.run()
        if store.actions.dropped:
            hear(Said(f"{store.actions.dropped} {DAMAGED_TRACES}"))
        note_logs(workplace, process)
        delivery = Delivery(
            plan, process, store, workplace.recipes, workplace.site.root, hear, how.locks
        )
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
    return Built(
        result=result,
        facts=(*workplace_facts(workplace), *build_facts(process), *published.facts),
        records=tuple(process.records),
    )


@contextmanager
def _process(
    workplace: Workplace, how: How, hear: Listener, hash_seed: str = ""
) -> Iterator[Build]:
    """Join a plan, its store, an executor and a witness for the time of one build.

    With a `hash_seed` always in workers that are processes of their own: only those can have one.
    """
    settings, site, store = workplace.settings, workplace.site, workplace.store
    if how.jobs is not None and how.jobs < 1:
        raise UsageError(f"steps that run at once must be at least 1, not {how.jobs}")
    slots = how.jobs or settings.jobs or os.cpu_count() or 1
    labels = [step.label for step in workplace.plan.steps]
    forced = {find_label(word, labels) for word in how.rerun}
    latest = workplace.latest()
    outcomes: SimpleQueue[tuple[str, Outcome]] = SimpleQueue()
    with (
        store.lease(),
        store.folder() if store.is_writable else nullcontext("") as folder,
        NetWitness(site.root, site.ignored, site.roots) as witness,
        # Inline executors fork, and a fork amid an import never gets past it.
        _writer_loading(hear, may_load=not hash_seed and settings.executor != "inline") as listen,
    ):
        executor = _make_executor(workplace, outcomes, slots, folder, hash_seed)
        room = _make_room(workplace, hear, slots, lambda: process)
        process = Build(
            workplace.plan.steps,
            store=store,
            executor=executor,
            outcomes=outcomes,
            site=site,
            jobs=slots,
            keep_going=settings.keep_going if how.keep_going is None else how.keep_going,
            timeout=settings.timeout,
            rerun=lambda step: how.no_cache or step.label in forced,
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


def _make_executor(
    workplace: Workplace,
    outcomes: SimpleQueue[tuple[str, Outcome]],
    slots: int,
    folder: str,
    hash_seed: str,
) -> Executor:
    """Give what runs the steps; its temporary files go below `folder`, where a collection finds them."""
    name = "process" if hash_seed else workplace.settings.executor
    seed = {"hash_seed": hash_seed} if hash_seed else {}
    made: Executor = resolve("executors", name)(
        lambda job, outcome: outcomes.put((job, outcome)), slots, folder=folder, **seed
    )
    return made


def _make_room(
    workplace: Workplace, hear: Listener, slots: int, process: Callable[[], Build]
) -> Room:
    """Give what looks whether the steps fit, and has fewer of them run at once where all would not."""

    def narrow(fitting: int) -> None:
        process().scheduler.jobs = fitting
        hear(Said(f"{fitting} at once instead of {slots}: more steps do not fit into memory"))

    return Room(workplace, lambda: view(workplace).prospects, narrow, slots=slots)


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
