"""What a build would do, found out without running a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from onnxbuild.core.facts import first_broken
from onnxbuild.core.step import Step
from onnxbuild.core.trace import Trace
from onnxbuild.engine.growth import read_growth
from onnxbuild.engine.keys import find_ingredients, make_key
from onnxbuild.engine.scheduler import Failed, Found, Grew, LookUp, Scheduler
from onnxbuild.engine.setting import Site, Store, do_differ

Why: TypeAlias = Callable[[Step, Mapping[str, Any], Sequence[Trace]], list[str]]
Previous: TypeAlias = Callable[[Step], Trace | None]
"""Gives the trace with which a step was last built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What would become of one step."""

    step: Step
    status: Literal["cached", "run", "may run"]
    causes: tuple[str, ...] = ()
    """Why it would run; for ``may run``, which step it waits for."""

    key: str = ""
    trace: Trace | None = None
    """What would be used, when cached."""

    varied: int = 0
    """Runs with these very inputs that are kept and gave different results; 0 where all gave the same."""


def preview(
    steps: Sequence[Step], store: Store, site: Site, why: Why, previous: Previous = lambda _: None
) -> list[Prospect]:
    """Look every step up, in order; those behind a step that would run may run.

    Or would, whatever that gives, where files have changed that they read when they were last built.
    """
    scheduler = Scheduler(steps, jobs=1, keep_going=True)
    known = store.known_files()
    found: dict[int, Prospect] = {}
    pending = scheduler.start()
    while pending:
        instruction = pending.pop(0)
        if not isinstance(instruction, LookUp):
            continue
        step = scheduler.nodes[instruction.node].step
        ingredients = find_ingredients(step, instruction.inputs)
        key = make_key(ingredients)
        traces = store.traces(key)
        holding = [item for item in traces if _holds(item, site, known)]
        trace = next(iter(holding), None)
        if trace is None:
            causes = tuple(why(step, ingredients, traces))
            found[instruction.node] = Prospect(step=step, status="run", causes=causes, key=key)
            pending.extend(scheduler.handle(Failed(instruction.node)))
            continue
        varied = len(holding) if do_differ(holding) and not step.timed else 0
        found[instruction.node] = Prospect(
            step=step, status="cached", key=key, trace=trace, varied=varied
        )
        if trace.grown is not None:
            pending.extend(scheduler.handle(Grew(instruction.node, *read_growth(trace.grown))))
        else:
            pending.extend(scheduler.handle(Found(instruction.node, trace.results)))

    def changed_since(step: Step) -> list[str]:
        last = previous(step)
        if last is None or any(_holds(item, site, known) for item in store.traces(last.key)):
            return []
        return why(step, last.ingredients, store.traces(last.key))

    return [
        found.get(number) or _behind(number, scheduler, found, changed_since)
        for number in range(len(scheduler.nodes))
    ]


def _holds(trace: Trace, site: Site, known: dict[str, Any]) -> bool:
    facts = trace.observations
    return first_broken(facts, site.root, dict(site.roots), known, site.ignored) is None


def _behind(
    number: int,
    scheduler: Scheduler,
    found: dict[int, Prospect],
    changed_since: Callable[[Step], list[str]],
) -> Prospect:
    node = scheduler.nodes[number]
    changes = changed_since(node.step)
    if changes:
        return Prospect(step=node.step, status="run", causes=tuple(changes))
    waits_for = [
        scheduler.nodes[source].step.label
        for source, _ in node.needs.values()
        if source not in found or found[source].status != "cached"
    ]
    causes = (f"if {' or '.join(dict.fromkeys(waits_for))} gives another result",)
    return Prospect(step=node.step, status="may run", causes=causes)
