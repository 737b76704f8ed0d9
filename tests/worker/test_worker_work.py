"""What a run function gets in its hands."""

from __future__ import annotations

import json

import pytest

from onnxbuild.core.artifact import INLINE_LIMIT, Artifact
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.ports import Job, MoreSteps
from onnxbuild.core.step import OWN, Output, Step
from onnxbuild.engine.growth import read_growth
from onnxbuild.errors import StepError, StoreError
from onnxbuild.stores.local import LocalStore
from onnxbuild.worker.growth import write_growth
from onnxbuild.worker.work import StepWork


def make_job(store, **fields):
    values = {
        "id": "1",
        "run": "m:f",
        "options": {"a": 1},
        "inputs": {},
        "outputs": ("model",),
        "label": "x",
        "store": store.root,
        "root": "/",
        "folder": None,
    }
    return Job(**(values | fields))


@pytest.fixture
def store(tmp_path):
    store = LocalStore(str(tmp_path / "store"))
    yield store
    store.close()


def make_work(store, folder, **inputs):
    return StepWork(make_job(store, inputs=inputs), store, str(folder))


def test_small_json_travels_inside_its_artifact(store, tmp_path):
    """A number or a table needs no blob."""
    artifact = make_work(store, tmp_path).put_json({"b": 1, "a": float("inf")})

    work = make_work(store, tmp_path, value=artifact)

    assert artifact.inline == '{"a":Infinity,"b":1}'
    assert artifact.digest == digest_bytes(artifact.inline.encode())
    assert work.json("value") == {"a": float("inf"), "b": 1}
    with open(work.input("value")) as file:
        assert json.load(file) == {"a": float("inf"), "b": 1}


def test_large_json_is_a_blob(store, tmp_path):
    """What is too large for a trace goes to the store."""
    artifact = make_work(store, tmp_path).put_json("x" * INLINE_LIMIT)

    work = make_work(store, tmp_path, value=artifact)

    assert artifact.inline is None
    assert work.json("value") == "x" * INLINE_LIMIT
    assert work.input("value") == store.blob_path(artifact.digest)


def test_equal_values_have_equal_digests(store, tmp_path):
    """The order of keys does not count."""
    work = make_work(store, tmp_path)

    assert work.put_json({"a": 1, "b": 2}) == work.put_json({"b": 2, "a": 1})


def test_a_file_is_consumed(store, tmp_path):
    """A written file becomes content of the store, with its size."""
    path = tmp_path / "store" / "tmp" / "x.npz"
    path.write_bytes(b"arrays")

    artifact = make_work(store, tmp_path).put_file(str(path), "arrays")

    assert artifact == Artifact(kind="arrays", digest=digest_bytes(b"arrays"), size=6)
    assert not path.exists()


def test_a_file_that_was_not_written_is_an_error(store, tmp_path):
    """The message names the file."""
    with pytest.raises(StoreError, match="did not") as info:
        make_work(store, tmp_path).put_file(str(tmp_path / "nothing"))

    assert info.value.where == str(tmp_path / "nothing")


def test_a_wrong_input_is_answered_with_the_right_one(store, tmp_path):
    """A misspelt input is a mistake in the run function, told with the nearest name."""
    work = make_work(store, tmp_path, model=Artifact(kind="model", digest="b3:1", size=1))

    with pytest.raises(StepError) as info:
        work.input("modle")

    assert info.value.hint == "did you mean 'model'?"


def test_grown_steps_come_back_as_they_were_meant(store):
    """What the worker writes, the engine reads: each step once, producers first."""
    base = Step(run="m:base", label="base", inputs={"model": Output(OWN, "model")})
    left = Step(run="m:left", label="left", inputs={"x": Output(base)}, libraries=("onnx",))
    right = Step(run="m:right", label="right", inputs={"x": Output(base), "y": Output(left)})
    model = Artifact(kind="model", digest="b3:1", size=1)
    job = make_job(store, inputs={"model": model})

    grown = json.loads(json.dumps(write_growth(MoreSteps(outputs={"model": Output(right)}), job)))
    steps, outputs = read_growth(grown)

    assert [step.label for step in steps] == ["base", "left", "right"]
    assert steps[0].inputs == {"model": Output(OWN, "model")}
    assert steps[2].inputs == {"x": Output(steps[0]), "y": Output(steps[1])}
    assert steps[1].libraries == ("onnx",)
    assert outputs == {"model": Output(steps[2])}


def test_ten_thousand_grown_steps_need_no_recursion(store):
    """A chain as long as one likes."""
    step = Step(run="m:f", label="0")
    for number in range(1, 10_000):
        step = Step(run="m:f", label=str(number), inputs={"model": Output(step)})

    grown = write_growth(MoreSteps(outputs={"model": Output(step)}), make_job(store))

    assert [item["label"] for item in grown["steps"]] == [str(number) for number in range(10_000)]


@pytest.mark.parametrize(
    ("outputs", "what"),
    [
        pytest.param(
            lambda: {"modle": Output(Step(run="m:f", label=""))}, "outputs are model", id="name"
        ),
        pytest.param(lambda: {"model": Output(OWN, "data")}, "wants the input 'data'", id="own"),
        pytest.param(
            lambda: {"model": Output(Step(run="m:f", label=""), "ranges")},
            "asked for 'ranges'",
            id="output",
        ),
        pytest.param(lambda: {"model": Output(make_circle())}, "in a circle", id="circle"),
    ],
)
def test_steps_that_do_not_fit_are_refused(store, outputs, what):
    """A wrong answer fails the growing step, in words."""
    with pytest.raises(StepError, match=what):
        write_growth(MoreSteps(outputs=outputs()), make_job(store))


def make_circle():
    inputs = {}
    one = Step(run="m:one", label="", inputs=inputs)
    inputs["x"] = Output(Step(run="m:two", label="", inputs={"x": Output(one)}))
    return one
