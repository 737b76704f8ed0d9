"""The executor that runs steps in the process of the build."""

from __future__ import annotations

import os
import random
import sys

import pytest
from contracts.executor import Bench, ExecutorContract

from onnxbuild.executors.inline import InlineExecutor


class TestInlineExecutor(ExecutorContract):
    """The contract, kept without a process unless one is needed."""

    @pytest.fixture
    def executor(self, bench):
        executor = InlineExecutor(bench.deliver, 2)
        yield executor
        executor.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_the_outcome_is_there_when_submit_returns(bench):
    """A job is over when `submit` comes back: a debugger sees it run."""
    executor = InlineExecutor(bench.deliver)

    executor.submit(bench.job("surroundings"))

    assert not bench.queue.empty()
    assert bench.value()["pid"] == os.getpid()


def test_the_caller_gets_its_state_back(bench, monkeypatch):
    """Variables, folder, path, streams and random numbers are what they were before the step."""
    monkeypatch.setenv("MINE", "1")
    random.seed(7)
    expected = random.random()
    random.seed(7)
    before = (os.getcwd(), list(sys.path), sys.argv, sys.stdout, dict(os.environ))

    InlineExecutor(bench.deliver).submit(bench.job("surroundings"))

    assert (os.getcwd(), list(sys.path), sys.argv, sys.stdout, dict(os.environ)) == before
    assert random.random() == expected


def test_modules_of_the_caller_are_its_own_again(bench, monkeypatch):
    """A step imports project code anew, and the caller keeps the modules that it had."""
    with open(bench.path("recipes/model.py"), "w") as file:
        file.write("def build():\n    return 1\n")
    monkeypatch.syspath_prepend(bench.path("recipes"))
    mine = __import__("model")
    with open(bench.path("recipes/model.py"), "w") as file:
        file.write("def build():\n    return 20\n")

    InlineExecutor(bench.deliver).submit(bench.job("call_theirs"))

    assert bench.value() == 20
    assert sys.modules["model"] is mine


def test_an_isolated_step_runs_in_a_child_that_has_none_of_our_files(bench):
    """A step that may crash gets a process of its own, which keeps no lock of ours."""
    claim = bench.store.claim("b3:" + "0" * 64)

    InlineExecutor(bench.deliver).submit(bench.job("open_files", isolate=True))

    assert not [path for path in bench.value() if "claims" in path]
    claim.release()


def test_an_interrupt_is_an_outcome_and_goes_on_to_the_caller(bench):
    """Ctrl-C stops the step and the build."""
    with pytest.raises(KeyboardInterrupt):
        InlineExecutor(bench.deliver).submit(bench.job("interrupt"))

    assert bench.outcome().status == "cancelled"
