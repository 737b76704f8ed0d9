"""The executor that forks a worker for each step from a warm server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from contracts.executor import Bench, ExecutorContract, is_alive, until

from onnxbuild.executors.environment import own_path
from onnxbuild.executors.process import ProcessExecutor

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


@pytest.fixture
def executor(bench):
    executor = ProcessExecutor(
        bench.deliver, 2, preload=("run_functions",), expected=(), path=(HERE,)
    )
    yield executor
    executor.close()


class TestProcessExecutor(ExecutorContract):
    """The contract, kept with processes."""

    @pytest.fixture
    def executor(self, bench):
        executor = ProcessExecutor(
            bench.deliver, 2, preload=("run_functions",), expected=(), path=(HERE,)
        )
        yield executor
        executor.close()


def make_blocked(bench, *more):
    """Make an executor with a run module whose import takes until `unblock`."""
    with open(bench.path("blocked_until.py"), "w") as file:
        file.write(f"PATH = {bench.path('go')!r}\nBEGUN = {bench.path('begun')!r}\n")
    preload = ("run_functions", "run_functions_blocked", *more)
    return ProcessExecutor(bench.deliver, 2, preload=preload, expected=(), path=(HERE, bench.root))


def unblock(bench):
    with open(bench.path("go"), "w"):
        pass


def server_of(bench, executor):
    """Give the process id of the executor's server: the parent of a worker."""
    executor.submit(bench.job("parent", "who"))
    return bench.value("who")


def test_each_job_of_many_ends_once(executor, bench):
    """Fifty jobs through two workers: each outcome comes, once, with its own result."""
    names = [f"job-{number}" for number in range(50)]

    for name in names:
        executor.submit(bench.job("answer", name, options=name))

    assert [bench.value(name) for name in names] == names
    assert sorted(bench.order) == sorted(names)


def test_no_more_jobs_run_at_once_than_asked_for(bench):
    """With one worker, a second job begins after the first has ended, in the order of submission."""
    executor = ProcessExecutor(
        bench.deliver, 1, preload=("run_functions",), expected=(), path=(HERE,)
    )
    gate = bench.path("gate")
    os.mkfifo(gate)
    executor.submit(bench.job("gate", "one", options={"path": bench.path("pids"), "gate": gate}))
    executor.submit(bench.job("answer", "two"))
    bench.numbers(bench.path("pids"))

    with open(gate, "w") as file:
        file.write("go")
    bench.outcome("two")

    assert bench.order == ["one", "two"]
    executor.close()


def test_a_job_that_waits_can_be_cancelled(bench):
    """Cancelling a queued job does not touch the one that runs."""
    executor = ProcessExecutor(
        bench.deliver, 1, preload=("run_functions",), expected=(), path=(HERE,)
    )
    gate = bench.path("gate")
    os.mkfifo(gate)
    executor.submit(bench.job("gate", "one", options={"path": bench.path("pids"), "gate": gate}))
    executor.submit(bench.job("answer", "two"))
    bench.numbers(bench.path("pids"))

    executor.cancel("two")
    cancelled = bench.outcome("two")
    with open(gate, "w") as file:
        file.write("go")

    assert cancelled.status == "cancelled"
    assert bench.outcome("one").status == "ok"
    executor.close()


def test_a_ready_job_does_not_wait_behind_an_import(bench):
    """While a module is still to be imported, jobs whose module is there go first."""
    executor = make_blocked(bench)
    server = server_of(bench, executor)

    os.kill(server, signal.SIGSTOP)
    executor.submit(bench.job("answer", "blocked", run="run_functions_blocked:answer"))
    executor.submit(bench.job("answer", "ready"))
    os.kill(server, signal.SIGCONT)

    # The import does not end before the other job has.
    assert bench.outcome("ready").status == "ok"
    unblock(bench)
    assert bench.outcome("blocked").status == "ok"
    executor.close()


def test_a_module_is_imported_and_warmed_once_before_its_workers(bench):
    """`warm` runs in the server, once, and every worker finds what it left."""
    preload = ("run_functions", "run_functions_warm")
    executor = ProcessExecutor(bench.deliver, 2, preload=preload, expected=(), path=(HERE,))

    executor.prepare(["run_functions_warm"])
    for name in ("one", "two"):
        executor.submit(bench.job("count", name, run="run_functions_warm:count"))
    seen = [bench.value(name) for name in ("one", "two")]
    executor.submit(bench.job("parent", "who"))

    assert seen == [{"warmed_by": bench.value("who"), "times": 1}] * 2
    executor.close()


def test_what_follows_on_a_job_is_imported_before_what_comes_later(bench):
    """A module that is soon needed overtakes those that were named earlier."""
    imported = bench.path("imported")
    with open(bench.path("run_soon.py"), "w") as file:
        file.write(f"open({imported!r}, 'w').close()\n")
    executor = make_blocked(bench, "run_soon")
    server = server_of(bench, executor)

    os.kill(server, signal.SIGSTOP)
    executor.prepare(["run_functions_blocked"])
    executor.prepare(["run_soon"], soon=True)
    os.kill(server, signal.SIGCONT)
    until(lambda: os.path.exists(bench.path("begun")))

    # The other import does not end by itself.
    assert os.path.exists(imported)
    unblock(bench)
    executor.close()


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param("timeout", id="a timeout"),
        pytest.param("cancel", id="a cancellation"),
        pytest.param("end", id="the end of a worker"),
    ],
)
def test_a_long_import_does_not_hold_up_what_runs(bench, happens):
    """While the server imports a module, outcomes, timeouts and cancellations go on."""
    executor = make_blocked(bench)
    gate = bench.path("gate")
    os.mkfifo(gate)
    options = {"path": bench.path("pids"), "gate": gate}
    timeout = 2.0 if happens == "timeout" else None
    executor.submit(bench.job("gate", "runs", options=options, timeout=timeout))
    bench.numbers(options["path"])
    executor.submit(bench.job("answer", "blocked", run="run_functions_blocked:answer"))
    until(lambda: os.path.exists(bench.path("begun")))

    if happens == "cancel":
        executor.cancel("runs")
    elif happens == "end":
        with open(gate, "w") as file:
            file.write("go")
    outcome = bench.outcome("runs")
    blocked_yet = "blocked" not in bench.order
    unblock(bench)

    assert outcome.status == {"timeout": "timeout", "cancel": "cancelled", "end": "ok"}[happens]
    assert blocked_yet
    assert bench.outcome("blocked").status == "ok"
    executor.close()


def test_what_user_code_is_expected_to_import_is_there_before_it_runs(bench):
    """A job with a folder finds the expected libraries imported; one without does not wait for them."""
    executor = ProcessExecutor(
        bench.deliver, 2, preload=("run_functions",), expected=("fractions",), path=(HERE,)
    )

    executor.submit(bench.job("modules", "ours", options=["fractions"], folder=None))
    before = bench.value("ours")
    executor.submit(bench.job("modules", "theirs", options=["fractions"]))

    assert before == []
    assert bench.value("theirs") == ["fractions"]
    executor.close()


def test_a_module_that_cannot_be_imported_fails_its_jobs(bench):
    """The reason is told, with what to install; other jobs run on."""
    preload = ("run_functions", "run_functions_broken")
    executor = ProcessExecutor(bench.deliver, 2, preload=preload, expected=(), path=(HERE,))

    executor.submit(bench.job("answer", "broken", run="run_functions_broken:answer"))
    outcome = bench.outcome("broken")
    executor.submit(bench.job("answer", "good"))

    assert outcome.status == "failed"
    assert "No module named 'there_is_no_such_package'" in outcome.failure.what
    assert "pip install there_is_no_such_package" in outcome.failure.hint
    assert bench.outcome("good").status == "ok"
    executor.close()


def test_the_server_never_holds_project_code(executor, bench):
    """What a step imports is gone with its worker; the next one starts clean."""
    with open(bench.path("recipes/model.py"), "w") as file:
        file.write("def build():\n    return 1\n")
    executor.submit(bench.job("call_theirs", "one"))
    bench.value("one")

    executor.submit(bench.job("modules", "two", options=["model"]))

    assert bench.value("two") == []


def test_a_dead_server_loses_its_jobs_and_the_next_submit_starts_another(executor, bench):
    """Running jobs end as `lost`, their processes and folders go, and work can go on."""
    server = server_of(bench, executor)
    path = bench.path("pids")
    executor.submit(bench.job("hang", options={"path": path}))
    pids = bench.numbers(path)

    os.kill(server, signal.SIGKILL)
    outcome = bench.outcome()
    executor.submit(bench.job("answer", "next"))

    assert outcome.status == "lost"
    assert "SIGKILL" in outcome.failure.what
    assert bench.outcome("next").status == "ok"
    until(lambda: not any(is_alive(pid) for pid in pids))
    until(lambda: bench.leftovers() == [])


def test_a_worker_killed_from_outside_fails_its_step(executor, bench):
    """Only the loss of the server is `lost`; a killed worker is a failed step."""
    gate = bench.path("gate")
    os.mkfifo(gate)
    executor.submit(bench.job("gate", options={"path": bench.path("pids"), "gate": gate}))
    (worker,) = bench.numbers(bench.path("pids"))

    os.kill(worker, signal.SIGKILL)

    outcome = bench.outcome()
    assert outcome.status == "failed"
    assert "killed by SIGKILL" in outcome.failure.what


def test_closing_stops_what_runs(executor, bench):
    """`close` ends workers with their children, and says so of each job."""
    path = bench.path("pids")
    executor.submit(bench.job("hang", options={"path": path}))
    pids = bench.numbers(path)

    executor.close()

    assert bench.outcome().status == "cancelled"
    assert not any(is_alive(pid) for pid in pids)
    assert bench.leftovers() == []


def test_a_killed_build_leaves_no_process(bench):
    """After kill -9 of the build: no server, no worker, none of their children."""
    path = bench.path("pids")
    job = {
        "run": "run_functions:hang",
        "options": {"path": path},
        "inputs": {},
        "outputs": ["value"],
        "label": "hang",
        "store": bench.store.root,
        "root": bench.root,
        "folder": "recipes",
    }
    driver = subprocess.Popen(
        [sys.executable, os.path.join(HERE, "driver.py"), json.dumps({**job, "id": "job"})],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(own_path())},
    )
    server = int(driver.stdout.readline())
    pids = [*bench.numbers(path), server]
    assert all(is_alive(pid) for pid in pids)

    driver.kill()
    driver.wait()

    until(lambda: not any(is_alive(pid) for pid in pids))
    assert bench.leftovers() == []
    driver.stdout.close()


def test_a_server_that_cannot_start_says_why(bench, monkeypatch):
    """The reason reaches the outcome, instead of a wait without end."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    executor = ProcessExecutor(bench.deliver, 1, expected=())

    executor.submit(bench.job("answer"))

    outcome = bench.outcome()
    assert outcome.status == "lost"
    assert "exit code 1" in outcome.failure.what
    executor.close()
