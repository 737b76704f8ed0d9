"""Joining a plan, its store, an executor and a witness: what a build needs while it runs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib import import_module
from queue import SimpleQueue
from threading import Thread
from typing import Any

from onnxbuild.core.events import Event, Listener, Said, StepStarted
from onnxbuild.core.ports import Executor, Failure, Outcome
from onnxbuild.core.step import Step
from onnxbuild.engine.build import Build
from onnxbuild.engine.explain import in_one_line
from onnxbuild.errors import UsageError
from onnxbuild.observe.witness import NetWitness
from onnxbuild.outlook import Room
from onnxbuild.planner import find_label
from onnxbuild.recipe.schema import Recipe
from onnxbuild.registry import resolve
from onnxbuild.report.locked import Locked
from onnxbuild.workplace import Workplace

TRANSFORMERS = "transformers.modeling_utils"
"""What each of the models of `transformers` imports first. Measured: 2 s of CPU in every step that loads one."""

IMPORTS_TRANSFORMERS = re.compile(r"^\s*(?:import|from)\s+transformers\b", re.MULTILINE)


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


@contextmanager
def join(workplace: Workplace, how: How, hear: Listener, hash_seed: str = "") -> Iterator[Build]:
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
            refuse=_refusal(executor, room) if settings.forecast else lambda _: None,
        )
        try:
            yield process
            if witness.gap:
                hear(Said(f"what native code reads may go unseen: {witness.gap}"))
        finally:
            executor.close()
            process.close()


def _refusal(executor: Executor, room: Room) -> Callable[[Step], Failure | None]:
    """Give what refuses a step that cannot fit; workers get ready while it is looked at."""

    def refuse(step: Step) -> Failure | None:
        executor.prepare(())
        return room.refuse(step)

    return refuse


def _make_executor(
    workplace: Workplace,
    outcomes: SimpleQueue[tuple[str, Outcome]],
    slots: int,
    folder: str,
    hash_seed: str,
) -> Executor:
    """Give what runs the steps; its temporary files go below `folder`, where a collection finds them."""
    name = "process" if hash_seed else workplace.settings.executor
    options: dict[str, Any] = {"hash_seed": hash_seed} if hash_seed else {}
    if name == "process":
        options["expected"] = expected_libraries(workplace.recipes.values(), workplace.site.root)
    made: Executor = resolve("executors", name)(
        lambda job, outcome: outcomes.put((job, outcome)), slots, folder=folder, **options
    )
    return made


def expected_libraries(recipes: Collection[Recipe], root: str) -> tuple[str, ...]:
    """Name what the workers' server is to import before it runs code of the user.

    A guess that costs a little time where it is wrong. Where steps are given variables of the
    environment, `transformers` is left to each of them: it reads some when it is imported.
    """
    if any(recipe.pass_env for recipe in recipes):
        return ("torch",)
    uses = any(_uses_transformers(recipe, root) for recipe in recipes)
    return ("torch", TRANSFORMERS) if uses else ("torch",)


def _uses_transformers(recipe: Recipe, root: str) -> bool:
    if recipe.model.huggingface is not None:
        return True
    source, colon, _ = (recipe.model.entry or "").rpartition(":")
    if not (colon and source.endswith(".py")):
        return (recipe.model.entry or "").startswith("transformers.")
    with suppress(OSError, UnicodeDecodeError):
        path = os.path.join(root, recipe.folder, source)
        with open(path, encoding="utf-8") as file:
            return IMPORTS_TRANSFORMERS.search(file.read()) is not None
    return False


def _make_room(
    workplace: Workplace, hear: Listener, slots: int, process: Callable[[], Build]
) -> Room:
    """Give what looks whether the steps fit, and has fewer of them run at once where all would not."""

    def narrow(fitting: int) -> None:
        process().scheduler.jobs = fitting
        hear(Said(f"{fitting} at once instead of {slots}: more steps do not fit into memory"))

    return Room(workplace, narrow, slots=slots)


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
