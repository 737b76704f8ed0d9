"""Foreseeing a build from what its steps took before."""

from __future__ import annotations

import pytest

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.step import Output, Step
from onnxbuild.engine.forecast import Cost, added_bytes, fit_slots, foresee
from onnxbuild.stores.local import LocalStore


def step(label: str, *sources: Step) -> Step:
    inputs = {source.label: Output(source, "x") for source in sources}
    return Step(run=f"module:{label}", label=label, inputs=inputs, outputs=("x",))


def diamond() -> list[Step]:
    first = step("first")
    left, right = step("left", first), step("right", first)
    return [first, left, right, step("last", left, right)]


COSTS = {
    "first": Cost(seconds=1, memory=10, stored=1),
    "left": Cost(seconds=2, memory=20, stored=2),
    "right": Cost(seconds=4, memory=40, stored=4),
    "last": Cost(seconds=8, memory=5, stored=8),
}


@pytest.mark.parametrize(("slots", "seconds", "memory"), [(1, 15, 40), (2, 13, 55), (9, 13, 55)])
def test_steps_take_what_they_took_side_by_side(slots, seconds, memory):
    """Time is that of the last end, disk the sum, memory that of those which run together: what they share once."""
    found = foresee(diamond(), slots, lambda one: COSTS[one.label])

    assert (found.seconds, found.memory, found.stored) == (seconds, memory, 15)
    assert (found.steps, found.known) == (4, 4)


def test_what_was_never_seen_is_left_out_and_counted():
    """It takes nothing in the sums, and is told."""
    found = foresee(diamond(), 1, lambda one: COSTS[one.label] if one.label == "left" else None)

    assert (found.seconds, found.known, found.steps) == (2, 1, 4)


def test_steps_whose_inputs_are_there_wait_for_nothing():
    """Only what is to run counts."""
    steps = diamond()

    found = foresee(steps[3:], 1, lambda one: COSTS[one.label])

    assert found.seconds == 8


def test_a_long_chain_needs_no_recursion():
    """Ten thousand steps, one after the other."""
    steps = [step("s0")]
    for number in range(1, 10_000):
        steps.append(step(f"s{number}", steps[-1]))

    found = foresee(steps, 4, lambda _: Cost(seconds=1, memory=1, stored=0))

    assert (found.seconds, found.memory) == (10_000, 1)


@pytest.mark.parametrize(("memory", "slots"), [(55, 2), (54, 1), (1, 1)])
def test_fewer_at_once_where_all_do_not_fit(memory, slots):
    """As many as fit, and always one."""
    assert fit_slots(diamond(), 2, lambda one: COSTS[one.label], memory) == slots


def test_only_what_is_new_counts_as_added(tmp_path):
    """A graph that shares its weights with its input adds itself."""
    store = LocalStore(str(tmp_path))
    weight = store.put_bytes(b"w" * 5000)
    before = store.put_graph(b"before", [weight], 5000)
    after = store.put_graph(b"after", [weight], 5000)
    small = Artifact(kind="json", digest="b3:1", size=2, inline="{}")
    store.close()

    assert added_bytes([before], [], store) == 5006
    assert added_bytes([after, small], [before], store) == 5
    assert added_bytes([before], [before], store) == 0
