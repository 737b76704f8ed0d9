"""Recipes that are read and planned, with the store that they build in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from onnxbuild.compose import Composition, compose_all
from onnxbuild.core.facts import digest_variable, installed, normalize
from onnxbuild.core.ports import ASKED
from onnxbuild.core.step import Step
from onnxbuild.core.trace import Fact, Trace
from onnxbuild.engine.build import Build
from onnxbuild.engine.explain import GONE, explain_missing
from onnxbuild.engine.publish import BUILD_JSON, STAGING
from onnxbuild.engine.setting import Site
from onnxbuild.errors import StoreError, UsageError
from onnxbuild.planner import Plan, Variant, make_plan
from onnxbuild.project import store_folder
from onnxbuild.recipe.schema import Collecting, Recipe, Settings
from onnxbuild.stores.actions import LogEntry
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

    def call(self, step: Step) -> str:
        """Say what to call a step: by its label, with its recipe's name where there are several."""
        owner = self.plan.owner(step) if len(self.recipes) > 1 else ""
        return f"{owner}: {step.label}" if owner else step.label

    def latest(self) -> dict[str, str]:
        """Give the keys with which the steps of these recipes were last built."""
        found: dict[str, str] = {}
        for name in self.recipes:
            found.update(self.store.actions.latest(name))
        return found

    def previous(self, step: Step, latest: Mapping[str, str] | None = None) -> Trace | None:
        """Give the newest trace of the key with which a step was last built."""
        key = (self.latest() if latest is None else latest).get(identify(step))
        traces = self.store.traces(key) if key else ()
        return traces[-1] if traces else None

    def why(
        self,
        step: Step,
        ingredients: Mapping[str, Any],
        traces: Sequence[Trace],
        latest: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Name the causes for which a step must run; `latest` is what `latest()` gave before the build."""
        latest = self.latest() if latest is None else latest
        previous = self.previous(step, latest)
        if not traces and previous is None and identify(step) in latest:
            # Collected, or damaged: how it differs from what is wanted is not known any more.
            return [GONE]
        return explain_missing(
            ingredients,
            traces,
            previous,
            self.site.root,
            self.site.roots,
            self.store.known_files(),
            self.site.ignored,
        )


def list_paths(recipes: Recipes) -> list[str]:
    """Give the paths of one recipe, or of several."""
    several = [recipes] if isinstance(recipes, str | os.PathLike) else recipes
    return [os.fspath(path) for path in several]


def list_words(words: str | Sequence[str]) -> Sequence[str]:
    """Give words as a list: Python code may give one as it is."""
    return [words] if isinstance(words, str) else words


def identify(step: Step) -> str:
    """Name a step between builds, so that `explain` finds what it was before."""
    return f"{step.label}|{step.run}"


@contextmanager
def open_workplace(
    recipes: Recipes,
    overrides: str | Sequence[str] = (),
    *,
    only: str | Sequence[str] = (),
    multirun: bool = False,
    look: bool = False,
) -> Iterator[Workplace]:
    """Read and plan recipes. Raises `RecipeError` with all mistakes, or another `UsageError`.

    With `multirun` overrides may be sweeps. Who only wants to `look` needs no store that can be written.
    """
    paths = list_paths(recipes)
    if not paths:
        raise UsageError("no recipe was named", hint="onnxbuild run recipe.yaml")
    compositions = compose_all(paths, list_words(overrides), multirun=multirun)
    plan = make_plan([item.recipe for item in compositions], list_words(only))
    settings = compositions[0].recipe.settings
    with open_store(store_folder(compositions[0].root, settings.store), look=look) as store:
        yield Workplace(
            compositions=compositions,
            plan=plan,
            store=store,
            site=find_site(compositions, store.root, plan.variants),
            settings=settings,
        )


@contextmanager
def open_store(folder: str, *, look: bool) -> Iterator[LocalStore]:
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


def find_site(
    compositions: Sequence[Composition], store: str, variants: Sequence[Variant] = ()
) -> Site:
    """Say where the project of recipes lies, and what in it is none of a step's business."""
    root, settings = compositions[0].root, compositions[0].recipe.settings
    roots: dict[str, str] = {}
    for item in compositions:
        roots.update(item.recipe.roots)
    return Site(
        root=root,
        roots={name: os.path.abspath(os.path.join(root, path)) for name, path in roots.items()},
        ignored=(
            store,
            os.path.join(root, ".onnxbuild"),
            *find_published_folders(os.path.join(root, settings.artifacts), root, variants),
        ),
        variables=dict(os.environ),
    )


def find_published_folders(artifacts: str, root: str, variants: Sequence[Variant]) -> list[str]:
    """Give the folders that hold what is published, and nothing that a step may read.

    That is the folder for them as a whole, unless somebody keeps other things there: then each variant's.
    """
    artifacts = os.path.normpath(artifacts)
    if not (root + "/").startswith(artifacts + "/") and _holds_only_variants(artifacts):
        return [artifacts]
    return [os.path.join(artifacts, item.recipe, item.name) for item in variants]


def _holds_only_variants(folder: str) -> bool:
    """Tell whether all files below a folder are a variant's, or on their way to be one."""
    for _, folders, names in os.walk(folder):
        if BUILD_JSON in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not STAGING.fullmatch(name)]
        if any(not name.startswith(".") for name in names):
            return False
    return True


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


def note_latest(workplace: Workplace, process: Build) -> None:
    """Remember with which key each step was built, for the next explanation."""
    keys: dict[str, dict[str, str]] = {}
    for record in process.records:
        if record.status in {"ran", "cached"}:
            # Steps that a step answered with are no part of the plan: they count for every recipe.
            for name in workplace.plan.owners.get(id(record.step)) or workplace.recipes:
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
