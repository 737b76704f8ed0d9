"""What a build says beforehand of what it will take, and what it refuses."""

from __future__ import annotations

import json
import sqlite3

import pytest
from small_project import onnxbuild

from onnxbuild.core import machine

pytestmark = pytest.mark.e2e


@pytest.fixture
def edited(stamping):
    """A built project whose stage has changed since."""
    with open(stamping / "own.py", "a", encoding="utf-8") as file:
        file.write("\n\n")
    return stamping


def set_costs(project, **values) -> None:
    """Have all steps take so much when they last ran."""
    with sqlite3.connect(project / ".onnxbuild" / "actions.sqlite") as connection:
        for name, value in values.items():
            connection.execute(f"UPDATE costs SET {name} = ?", (value,))


def test_a_plan_says_how_long_it_takes(edited):
    """For what will run, and for all that may; as numbers for programs."""
    set_costs(edited, seconds=600)

    told = onnxbuild("plan", "net.yaml", "settings.jobs=1", cwd=edited).stdout.splitlines()[-1]
    forecast = json.loads(
        onnxbuild("plan", "net.yaml", "settings.jobs=1", "--json", cwd=edited).stdout
    )["forecast"]

    # What builds take besides their steps is on record beside them.
    assert told.startswith("about 20 min, ")
    assert "40 min, " in told
    assert told.endswith("of disk if all of them run")
    assert forecast["will_run"]["steps"] == 1
    assert forecast["will_run"]["seconds"] == 1200
    assert forecast["at_most"]["seconds"] == 2400
    assert forecast["at_most"]["memory"] > 0


def test_a_plan_of_which_all_is_cached_takes_nothing(stamping):
    """It has no forecast."""
    assert (
        json.loads(onnxbuild("plan", "net.yaml", "--json", cwd=stamping).stdout)["forecast"] is None
    )


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        pytest.param(
            {"memory": 10**15},
            "own: change took 1000000.0 GB of memory when it last ran",
            id="memory",
        ),
        pytest.param(
            {"stored": 10**15}, "the steps to run wrote 1000000.0 GB to the store", id="disk"
        ),
    ],
)
def test_what_cannot_fit_is_refused_before_it_starts(edited, costs, said):
    """In words, with nothing run or changed; who knows better may go on."""
    set_costs(edited, **costs)
    model = edited / "artifacts" / "net" / "own" / "model.onnx"
    before = model.read_bytes()

    refused = onnxbuild("run", "net.yaml", cwd=edited)
    after = model.read_bytes()
    forced = onnxbuild("run", "net.yaml", "settings.forecast=false", cwd=edited)

    assert refused.returncode == 1
    assert f"error: {said}" in refused.stderr
    assert "settings.forecast=false tries all the same" in refused.stderr
    assert "ran " not in refused.stderr
    assert after == before
    assert forced.returncode == 0, forced.stderr


def test_fewer_run_at_once_where_all_do_not_fit(edited):
    """It is said, and the build goes on."""
    set_costs(edited, memory=int(machine.memory_limit() * 0.6))

    done = onnxbuild("run", "net.yaml", "-j", "2", cwd=edited)

    assert done.returncode == 0, done.stderr
    assert "1 at once instead of 2: more steps do not fit into memory" in done.stderr
