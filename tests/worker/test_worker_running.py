"""One job in this process, as plain JSON in and out."""

from __future__ import annotations

import json
import os

import pytest

from onnxbuild.stores.local import LocalStore
from onnxbuild.worker import run


@pytest.fixture
def job(tmp_path):
    os.makedirs(tmp_path / "project")
    return {
        "id": "1",
        "run": "their_stage:apply",
        "options": {"a": [1]},
        "inputs": {},
        "outputs": ["value"],
        "label": "x",
        "store": str(tmp_path / "store"),
        "root": str(tmp_path / "project"),
        "folder": None,
    }


@pytest.fixture
def their_stage(tmp_path, monkeypatch):
    """Write the run function `their_stage:apply` of a package outside onnxbuild."""

    def write(body):
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        (folder / "their_stage.py").write_text(f"def apply(work):\n    {body}\n")
        monkeypatch.syspath_prepend(str(folder))

    yield write
    __import__("sys").modules.pop("their_stage", None)


def test_a_job_and_its_outcome_are_json(job, their_stage):
    """Nothing but plain values goes in and comes out."""
    their_stage("return {'value': work.put_json(work.options)}")

    outcome = run(json.loads(json.dumps(job)))

    assert json.loads(json.dumps(outcome)) == outcome
    assert outcome["status"] == "ok"
    assert outcome["results"]["value"]["inline"] == '{"a":[1]}'


def test_the_callers_variables_do_not_reach_the_job(job, their_stage, monkeypatch):
    """Only what was declared does, and the caller's are back afterwards."""
    their_stage("import os; return {'value': work.put_json(sorted(os.environ))}")
    monkeypatch.setenv("SECRET", "x")
    job["environment"] = {"DECLARED": "y"}

    outcome = run(job)

    names = json.loads(outcome["results"]["value"]["inline"])
    assert "SECRET" not in names
    assert "DECLARED" in names
    assert os.environ["SECRET"] == "x"
    assert "DECLARED" not in os.environ


def test_the_code_of_a_stage_from_elsewhere_is_observed(job, their_stage, tmp_path):
    """The key has the code of our run modules; that of others is among the observations."""
    their_stage("return {'value': work.put_json(1)}")

    outcome = run(job)

    named = [fact[1] for fact in outcome["observations"] if fact[0] == "file"]
    assert str(tmp_path / "elsewhere" / "their_stage.py") in named


def test_a_step_without_a_folder_works_in_a_private_one(job, their_stage):
    """A step that runs no user code is nowhere near the project."""
    their_stage("import os; return {'value': work.put_json([os.getcwd(), work.folder])}")

    outcome = run(job)

    here, private = json.loads(outcome["results"]["value"]["inline"])
    assert here == private
    assert not os.path.exists(private)


def test_a_folder_that_is_gone_is_named(job, their_stage):
    """The user learns which folder cannot be entered."""
    their_stage("return {}")

    outcome = run({**job, "folder": "recipes"})

    assert outcome["status"] == "failed"
    assert outcome["failure"]["where"] == os.path.join(job["root"], "recipes")


def test_a_function_that_is_not_there_is_answered_with_the_nearest(job, their_stage):
    """A misspelt run function gets a hint."""
    their_stage("return {}")

    outcome = run({**job, "run": "their_stage:aply"})

    assert outcome["failure"]["hint"] == "did you mean 'apply'?"


def test_numpy_is_seeded_where_it_is_there(job, their_stage):
    """Two runs draw the same numbers, and the caller's generator goes on as it was."""
    import numpy as np

    their_stage("import numpy; return {'value': work.put_json(float(numpy.random.rand()))}")
    np.random.seed(5)  # noqa: NPY002 - the global generator is what is promised
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002

    drawn = [run(job)["results"]["value"]["inline"] for _ in range(2)]

    assert drawn[0] == drawn[1]
    assert np.random.rand() == expected  # noqa: NPY002


def test_a_store_that_cannot_be_used_fails_the_step_and_says_so(job, their_stage, tmp_path):
    """The worker answers, whatever is wrong with the store."""
    their_stage("print('hello'); return {'value': work.put_json(1)}")
    LocalStore(job["store"]).close()
    blobs = tmp_path / "store" / "blobs"
    blobs.rmdir()
    blobs.write_text("in the way")

    outcome = run(job)

    assert outcome["status"] == "failed"
    assert outcome["failure"]["where"] == job["store"]
    assert outcome["failure"]["kind"] == "StoreError"
