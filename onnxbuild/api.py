"""The functions behind the commands; Python code gets the same as values."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from onnxbuild.compose import validate as find_mistakes
from onnxbuild.core.events import Event, Listener, Repeats, Said
from onnxbuild.core.trace import Fact
from onnxbuild.engine.copying import copied, temporary_folder
from onnxbuild.engine.setting import Record
from onnxbuild.errors import OnnxbuildError, UsageError
from onnxbuild.joining import DEFAULT, How, join
from onnxbuild.outlook import look, look_ahead, note_start
from onnxbuild.project import lock_path
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

DAMAGED_TRACE = "a trace of an earlier run was damaged and is dropped; where no other serves, the step runs again"


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
        # Held, and below its store: a collection spares the copy now, and finds it if we are killed.
        workplace.store.lease(),
        workplace.store.folder() if workplace.store.is_writable else temporary_folder() as base,
        copied(workplace.site, settings.artifacts, facts, base) as site,
        open_store(site.ignored[0], look=False) as store,
        join(
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
    for one, other in combinations(list_paths(recipes), 2):
        if lock_path(one) == lock_path(other):
            raise UsageError(
                f"{one} and {other} would have one lock: {lock_path(one)}",
                hint="rename one of the recipes",
            )
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
    with join(workplace, how, hear) as process:
        process.run()
        for record in process.records:
            if record.key in store.actions.dropped:
                hear(Said(f"{record.step.label}: {DAMAGED_TRACE}"))
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
    prospects = look(workplace)
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
