"""Comparing two builds: who is to blame, who is not, and in what words."""

from __future__ import annotations

import json

import pytest
from fakes import make_json

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Failure
from onnxbuild.core.step import Output, Step
from onnxbuild.core.trace import Trace
from onnxbuild.engine.setting import Record
from onnxbuild.report.differences import differ_as_json, tell_difference
from onnxbuild.report.repeating import compare_builds
from onnxbuild.report.result import Difference, Uncompared
from onnxbuild.stores.local import LocalStore

FIRST = Step(run="t:a", label="first")
SECOND = Step(run="t:b", label="second", inputs={"model": Output(FIRST)})
THIRD = Step(run="t:c", label="third", inputs={"model": Output(SECOND)})
TIMED = Step(run="t:d", label="timed", timed=True)


@pytest.fixture
def store(tmp_path):
    store = LocalStore(str(tmp_path / "store"))
    yield store
    store.close()


def record(step: Step, value: object, **inputs: Artifact) -> Record:
    ingredients = {"inputs": {name: [item.kind, item.digest] for name, item in inputs.items()}}
    trace = Trace(
        key="", ingredients=ingredients, observations=(), results={"model": make_json(value)}
    )
    return Record(step, status="ran", trace=trace)


def build(first: object, second: object, third: object) -> list[Record]:
    return [
        record(FIRST, first),
        record(SECOND, second, model=make_json(first)),
        record(THIRD, third, model=make_json(second)),
        record(TIMED, first),
    ]


def test_what_is_the_same_is_counted(store):
    """Steps that measure time are not held against each other."""
    found = compare_builds(build(1, 2, 3), build(1, 2, 3), store, store)

    assert (found.same, found.differing) == (3, ())
    assert found.uncompared == (Uncompared(step="timed", why="it measures time"),)


def test_only_the_step_that_began_it_is_blamed(store):
    """Those behind it had other inputs, and prove nothing."""
    found = compare_builds(
        build(1, 2, 3), build(9, 8, 7), store, store, lambda step: f"net: {step.label}"
    )

    assert found.differing == (
        Difference(step="net: first", what="the value is 1 the first time, 9 the second"),
    )
    assert found.same == 0
    assert found.uncompared[:2] == (
        Uncompared(step="net: second", why="net: first differs"),
        Uncompared(step="net: third", why="net: first differs"),
    )


def test_a_difference_that_is_evened_out_goes_no_further(store):
    """A step behind it that gets the same input is compared."""
    found = compare_builds(build(1, 2, 3), build(9, 2, 4), store, store)

    assert [item.step for item in found.differing] == ["first", "third"]
    assert [item.step for item in found.uncompared] == ["second", "timed"]


def test_a_step_that_fails_the_second_time_differs(store):
    """With the words of its failure; what could not run behind it is not compared."""
    again = [
        build(1, 2, 3)[0],
        Record(SECOND, status="failed", failure=Failure(what="no such file")),
        Record(THIRD, status="skipped"),
    ]

    found = compare_builds(build(1, 2, 3)[:3], again, store, store)

    assert found.same == 1
    assert found.differing == (
        Difference(step="second", what="it failed the second time: no such file"),
    )
    assert found.uncompared == (Uncompared(step="third", why="second differs"),)


def test_steps_that_grew_are_compared_by_what_they_are(store):
    """Their order may be another; a step that asked for other steps differs."""
    tries = [Step(run="t:try", label="try", options={"with": name}) for name in ("a", "b")]
    first = [record(tries[0], 1), record(tries[1], 2)]

    found = compare_builds(first, [first[1], first[0]], store, store)

    assert (found.same, found.uncompared) == (2, ())


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        pytest.param({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a[1].b is 2 the first time, 3 the second", id="path"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, "b is there only the second time", id="key"),
        pytest.param([1], [1, 2], "the list has 1 items the first time, 2 the second", id="length"),
        pytest.param({"a": 1}, {"a": 1.0}, "a is 1 the first time, 1.0 the second", id="type"),
        pytest.param({"a": "x" * 99 + "1"}, {"a": "x" * 99 + "2"}, f"a is …{'x' * 20}1\" the first time, "
                     f"…{'x' * 20}2\" the second", id="long"),
    ],
)  # fmt: skip
def test_json_is_told_by_path_and_values(one, other, told):
    """The first difference, in the order of the keys."""
    assert differ_as_json(json.dumps(one), json.dumps(other)) == told


def test_files_are_told_by_offset(store):
    """The first byte that differs, and both sizes."""
    contents = (b"a" * (1 << 20) + b"bcd", b"a" * (1 << 20) + b"bxd", b"a")
    one, other, short = (
        Artifact(kind="file", digest=store.put_bytes(text), size=len(text)) for text in contents
    )

    assert tell_difference(one, other, store, store).startswith("byte 1048577 of 1048579 ")
    assert tell_difference(one, short, store, store) == (
        "byte 1 of 1048579 the first time, of 1 the second"
    )


def test_content_that_is_gone_is_said(store):
    """A hit needs no content: what then differs is told by digest, with what to do."""
    gone = Artifact(kind="file", digest="b3:" + "0" * 64, size=1)
    there = Artifact(kind="file", digest=store.put_bytes(b"a"), size=1)

    assert "not in the store any more" in tell_difference(gone, there, store, store)
