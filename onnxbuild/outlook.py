"""What a build will take, as far as earlier runs tell, and whether this machine has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from onnxbuild.core import machine
from onnxbuild.core.ports import Failure
from onnxbuild.core.quantities import show_size
from onnxbuild.core.step import Step
from onnxbuild.engine.build import Build
from onnxbuild.engine.forecast import Cost, Outlook, fit_slots, foresee
from onnxbuild.engine.preview import Prospect, preview
from onnxbuild.errors import ResourceError
from onnxbuild.workplace import Workplace, identify

START = "(start)"
"""Under this name the store remembers what builds take besides their steps: above all, loading libraries."""

TRY = "settings.forecast=false tries all the same"


class Costs:
    """What is on record of the steps of a workplace."""

    def __init__(self, workplace: Workplace) -> None:
        self._actions = workplace.store.actions
        self._latest = workplace.latest()
        self._likes: dict[str, Cost | None] = {}

    def own(self, step: Step, key: str = "") -> Cost | None:
        """Give what the step itself took when it last ran, with this key or whichever."""
        cost = self._actions.cost(key) if key else None
        last = self._latest.get(identify(step))
        return cost or (self._actions.cost(last) if last else None)

    def guess(self, step: Step, key: str = "") -> Cost | None:
        """Give what the step took, or else what steps like it took on average."""
        if step.run not in self._likes:
            self._likes[step.run] = self._actions.cost_of_likes(step.run)
        return self.own(step, key) or self._likes[step.run]


def look(workplace: Workplace) -> list[Prospect]:
    """Say what would become of each step of a plan, without running one."""
    latest = workplace.latest()
    return preview(
        workplace.plan.steps,
        workplace.store,
        workplace.site,
        lambda step, made_of, traces: workplace.why(step, made_of, traces, latest),
        lambda step: workplace.previous(step, latest),
    )


def look_ahead(workplace: Workplace, prospects: Sequence[Prospect], slots: int) -> Outlook:
    """Foresee a build of which it is known what would become of each step."""
    costs = Costs(workplace)
    keys = {id(item.step): item.key for item in prospects}

    def cost_of(step: Step) -> Cost | None:
        return costs.guess(step, keys[id(step)])

    started = workplace.store.actions.cost(START)
    return Outlook(
        sure=foresee([item.step for item in prospects if item.status == "run"], slots, cost_of),
        most=foresee([item.step for item in prospects if item.status != "cached"], slots, cost_of),
        overhead=started.seconds if started else 0.0,
        published=_published(
            workplace, {id(item.step) for item in prospects if item.status != "cached"}
        ),
    )


def _published(workplace: Workplace, changing: set[int]) -> int:
    """Give the bytes of what is published now of the variants whose model is to be built."""
    artifacts = os.path.join(workplace.site.root, workplace.settings.artifacts)
    total = 0
    for variant in workplace.plan.variants:
        folder = os.path.join(artifacts, variant.recipe, variant.name)
        if id(variant.model.step) in changing and os.path.isdir(folder):
            total += sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
    return total


class Room:
    """Looks, before steps start, whether this machine has what they took when they last ran."""

    def __init__(
        self,
        workplace: Workplace,
        narrow: Callable[[int], None],
        *,
        slots: int,
        memory: int | None = None,
    ) -> None:
        """Take a workplace, which is looked at once, when the first step is about to start.

        `narrow` is called with how many steps may run at once, where that is fewer than `slots`.
        """
        self._workplace = workplace
        self._narrow = narrow
        self._slots = slots
        self._memory = machine.memory_limit() if memory is None else memory
        self._costs: Costs | None = None

    def refuse(self, step: Step) -> Failure | None:
        """Say why a step that is about to start cannot fit; None when it can, or nothing is known of it.

        Raises `ResourceError` the first time, when nothing has started yet, for any step that must run.
        """
        if self._costs is None:
            self._costs = Costs(self._workplace)
            self._look(self._costs)
        return self._find_refusal(step, self._costs.own(step))

    def _look(self, costs: Costs) -> None:
        prospects = look(self._workplace)
        keys: Mapping[int, str] = {id(item.step): item.key for item in prospects}

        def cost_of(step: Step) -> Cost | None:
            return costs.own(step, keys[id(step)])

        sure = [item.step for item in prospects if item.status == "run"]
        for step in sure:
            failure = self._find_refusal(step, cost_of(step))
            if failure is not None:
                raise ResourceError(failure.what, hint=failure.hint)
        waiting = [item.step for item in prospects if item.status != "cached"]
        self._refuse_disk(foresee(sure, 1, cost_of).stored)
        fitting = fit_slots(waiting, self._slots, cost_of, self._memory)
        if fitting < self._slots:
            self._narrow(fitting)

    def _find_refusal(self, step: Step, cost: Cost | None) -> Failure | None:
        if cost is None or cost.memory <= self._memory:
            return None
        return Failure(
            what=f"{step.label} took {show_size(cost.memory)} of memory when it last ran, and there are"
            f" {show_size(self._memory)} here",
            hint=f"build on a machine that has more, or give it less to do; {TRY}",
            kind="ResourceError",
        )

    def _refuse_disk(self, stored: int) -> None:
        store = self._workplace.store.root
        free = machine.free_space(store)
        if stored > free:
            raise ResourceError(
                f"the steps to run wrote {show_size(stored)} to the store when they last ran, and its disk has"
                f" {show_size(free)} left",
                where=store,
                hint=f"free space, perhaps with `onnxbuild cache gc`, or set settings.store to another disk; {TRY}",
            )


def note_start(workplace: Workplace, process: Build, seconds: float) -> None:
    """Remember what the build took besides its steps, for the next forecast."""
    traces = {id(record.step): record.trace for record in process.records if record.status == "ran"}
    if not traces:
        return

    def cost_of(step: Step) -> Cost | None:
        trace = traces[id(step)]
        return None if trace is None else Cost(seconds=trace.seconds, memory=0, stored=0)

    steps = [record.step for record in process.records if id(record.step) in traces]
    spent = foresee(steps, process.scheduler.jobs, cost_of).seconds
    workplace.store.actions.note_cost(START, max(0.0, seconds - spent))
