"""What every executor must keep; subclassed once for each implementation."""

from __future__ import annotations

import os
import queue
import time
from threading import Thread

import pytest

from onnxbuild.core.ports import Job
from onnxbuild.stores.local import LocalStore

PATIENCE = 20
"""Seconds after which a test that waits for a condition gives up."""


def until(condition):
    """Wait until a condition holds and give what it gave."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)
    return found


def is_alive(pid):
    """Tell whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Bench:
    """A project, a store, and the outcomes that an executor delivers."""

    def __init__(self, folder):
        self.root = str(folder / "project")
        self.store = LocalStore(str(folder / "store"))
        self.queue = queue.SimpleQueue()
        self.order = []
        self._outcomes = {}
        os.makedirs(os.path.join(self.root, "recipes"))

    def deliver(self, name, outcome):
        self.queue.put((name, outcome))

    def job(self, function, name="job", options=None, **fields):
        values = {
            "run": f"run_functions:{function}",
            "options": options,
            "inputs": {},
            "outputs": ("value",),
            "label": function,
            "store": self.store.root,
            "root": self.root,
            "folder": "recipes",
        }
        return Job(id=name, **(values | fields))

    def outcome(self, name="job"):
        """Wait for the outcome of a job."""
        while name not in self._outcomes:
            found, outcome = self.queue.get(timeout=PATIENCE)
            self.order.append(found)
            self._outcomes[found] = outcome
        return self._outcomes.pop(name)

    def value(self, name="job"):
        """Wait for the outcome of a job and read its result."""
        import json

        outcome = self.outcome(name)
        assert outcome.status == "ok", outcome.failure
        return json.loads(outcome.results["value"].inline)

    def log(self, outcome):
        with open(self.store.blob_path(outcome.log), encoding="utf-8") as file:
            return file.read()

    def path(self, name):
        return os.path.join(self.root, name)

    def numbers(self, path):
        """Wait until a run function has reported process ids, and give them."""
        until(lambda: os.path.exists(path))
        with open(path) as file:
            return [int(word) for word in file.read().split()]

    def leftovers(self):
        """Name what is left in the store's temporary folder."""
        return os.listdir(os.path.join(self.store.root, "tmp"))


class ExecutorContract:
    """Subclass with a fixture `executor` that delivers to the fixture `bench`."""

    @pytest.fixture
    def bench(self, tmp_path):
        bench = Bench(tmp_path)
        yield bench
        bench.store.close()

    @pytest.fixture
    def executor(self, bench):
        raise NotImplementedError

    def test_a_step_gets_its_options_and_gives_its_results(self, executor, bench):
        """Options reach the function as plain values, results come back as artifacts."""
        options = {"a": [1, 1.5, None, True], "b": "ß"}

        executor.submit(bench.job("answer", options=options))

        assert bench.value() == options

    def test_a_hint_changes_no_outcome(self, executor, bench):
        """Preparing what may come is a matter of time only, also when it is not there."""
        executor.prepare(["run_functions", "there_is_no_such_module"])
        executor.submit(bench.job("answer", options=1))

        assert bench.value() == 1

    def test_an_outcome_has_time_and_memory(self, executor, bench):
        """Wall time and peak memory are measured."""
        executor.submit(bench.job("answer"))

        outcome = bench.outcome()

        assert outcome.seconds > 0
        assert outcome.memory > 1 << 20

    def test_an_error_of_ours_arrives_in_its_parts(self, executor, bench):
        """What, where and hint of an error survive the way."""
        executor.submit(bench.job("fail"))

        outcome = bench.outcome()

        assert outcome.status == "failed"
        failure = outcome.failure
        assert (failure.what, failure.where) == ("the data are wrong", "data.csv:3")
        assert (failure.hint, failure.kind) == ("mend them", "DataError")

    def test_an_error_of_the_users_shows_their_frames_only(self, executor, bench):
        """The user sees the file and line of their code, not ours; the log has all frames."""
        with open(bench.path("recipes/model.py"), "w") as file:
            file.write("def build():\n    return 1 / 0\n")

        executor.submit(bench.job("call_theirs"))
        outcome = bench.outcome()

        assert outcome.failure.what == "ZeroDivisionError: division by zero"
        assert outcome.failure.where == "recipes/model.py:2"
        assert "recipes/model.py:2 in build" in outcome.failure.traceback
        assert "running.py" not in outcome.failure.traceback
        assert "running.py" in bench.log(outcome)

    def test_a_step_may_answer_with_more_steps(self, executor, bench):
        """New steps come as plain values, producers first."""
        own = bench.store.put_graph(b"graph", (), 0)

        executor.submit(bench.job("grow", inputs={"start": own}))
        outcome = bench.outcome()

        assert outcome.status == "steps"
        one, two = outcome.grown["steps"]
        assert (one["run"], one["inputs"]) == ("m:one", {"model": {"own": "start"}})
        assert two["inputs"]["x"] == {"step": 0, "output": "model"}
        assert outcome.grown["outputs"] == {"value": {"step": 1, "output": "model"}}

    @pytest.mark.parametrize(
        ("function", "what"),
        [
            pytest.param("misname", "outputs are value, it gave valeu", id="another name"),
            pytest.param("misanswer", "is a int, not an Artifact", id="no artifact"),
            pytest.param("note", "notes are not plain values", id="notes that are objects"),
            pytest.param("nothing", "answered with a NoneType", id="nothing"),
            pytest.param("anwser", "has no function 'anwser'", id="no such function"),
        ],
    )
    def test_a_wrong_answer_is_refused_in_words(self, executor, bench, function, what):
        """A run function that breaks its contract fails its step and says how."""
        executor.submit(bench.job(function))

        outcome = bench.outcome()

        assert outcome.status == "failed"
        assert what in outcome.failure.what

    def test_running_out_of_memory_is_named(self, executor, bench):
        """A `MemoryError` is not just another failure."""
        executor.submit(bench.job("exhaust"))

        outcome = bench.outcome()

        assert outcome.status == "out of memory"
        assert outcome.failure.hint

    def test_leaving_is_a_failure(self, executor, bench):
        """`sys.exit` in user code fails the step, even with code 0."""
        executor.submit(bench.job("leave"))

        outcome = bench.outcome()

        assert outcome.status == "failed"
        assert "sys.exit(0)" in outcome.failure.what

    @pytest.mark.parametrize(
        ("function", "what"),
        [
            pytest.param("crash", "native code crashed (SIGSEGV)", id="crash"),
            pytest.param("kill", "killed by SIGKILL", id="kill"),
            pytest.param("leave_at_once", "exit code 3", id="exit"),
        ],
    )
    def test_a_process_that_dies_fails_its_step_with_the_reason(
        self, executor, bench, function, what
    ):
        """A signal or an exit ends one step, not the build, and its log so far is kept."""
        executor.submit(bench.job(function, isolate=True))

        outcome = bench.outcome()

        assert outcome.status == "failed"
        assert what in outcome.failure.what
        assert "before the end" in bench.log(outcome)
        assert bench.leftovers() == []

    def test_a_step_sees_no_variable_that_it_did_not_declare(self, executor, bench, monkeypatch):
        """Undeclared variables do not reach a step, declared ones do."""
        monkeypatch.setenv("THEIR_SECRET", "1")
        monkeypatch.setenv("LANG", "de_DE.UTF-8")

        executor.submit(bench.job("surroundings", environment={"HF_HOME": "/models"}))
        environment = bench.value()["environment"]

        assert "THEIR_SECRET" not in environment
        assert environment["HF_HOME"] == "/models"
        assert environment["LANG"] == "C.UTF-8"
        assert environment["OMP_NUM_THREADS"] == "1"
        assert os.environ["LANG"] == "de_DE.UTF-8"

    def test_a_step_is_where_it_should_be(self, executor, bench):
        """It works in the recipe's folder, and keeps its temporary files to itself."""
        before = os.getcwd()

        executor.submit(bench.job("surroundings"))
        seen = bench.value()

        assert seen["cwd"] == bench.path("recipes")
        assert seen["folder"].startswith(bench.store.root)
        assert seen["environment"]["TMPDIR"] == seen["environment"]["HOME"] == seen["folder"]
        assert seen["argv"] == ["onnxbuild"]
        assert seen["umask"] == "0o22"
        assert os.getcwd() == before
        assert bench.leftovers() == []

    def test_two_steps_draw_the_same_numbers(self, executor, bench):
        """Random generators start from the same seed in every step."""
        for name in ("one", "two"):
            executor.submit(bench.job("surroundings", name))

        assert bench.value("one")["random"] == bench.value("two")["random"]

    def test_all_that_is_printed_is_in_the_log(self, executor, bench):
        """Python, native code and subprocesses write to one log, in order."""
        executor.submit(bench.job("speak"))

        outcome = bench.outcome()

        expected = ["from Python", "from native code", "from a child", "to stderr"]
        assert bench.log(outcome).splitlines() == expected

    def test_a_silent_step_has_no_log(self, executor, bench):
        """Nothing printed, nothing kept."""
        executor.submit(bench.job("answer"))

        assert bench.outcome().log == ""

    def test_files_that_a_step_reads_are_observed(self, executor, bench):
        """What a step opened is in its observations, by digest."""
        with open(bench.path("recipes/data.txt"), "w") as file:
            file.write("digits")

        executor.submit(bench.job("read_file", options={"path": "data.txt"}))
        outcome = bench.outcome()

        names = {fact[1] for fact in outcome.observations if fact[0] == "file"}
        assert "./recipes/data.txt" in names
        assert bench.path("recipes/data.txt") in outcome.signatures

    def test_a_file_that_changes_under_a_step_is_reported(self, executor, bench):
        """A result that belongs to no state of the project is not called ok."""
        with open(bench.path("recipes/data.txt"), "w") as file:
            file.write("before")

        options = {"path": "data.txt", "new": "after, and longer"}
        executor.submit(bench.job("read_while_another_writes", options=options))
        outcome = bench.outcome()

        assert outcome.status == "changed"
        assert "./recipes/data.txt" in outcome.failure.what

    def test_a_step_that_takes_too_long_is_stopped(self, executor, bench):
        """A timeout ends the step with all its children."""
        path = bench.path("pids")

        executor.submit(bench.job("hang", options={"path": path}, timeout=0.5))
        outcome = bench.outcome()

        assert outcome.status == "timeout"
        assert "0.5 s" in outcome.failure.what
        assert bench.leftovers() == []

    def test_a_step_is_cancelled_with_its_children(self, executor, bench):
        """Children die too: in the step's process group, in another session, and without a parent."""
        path = bench.path("pids")
        job = bench.job("hang", options={"path": path}, isolate=True)
        submitting = Thread(target=executor.submit, args=(job,))
        submitting.start()
        pids = bench.numbers(path)

        executor.cancel(job.id)
        outcome = bench.outcome()
        submitting.join()

        assert outcome.status == "cancelled"
        until(lambda: not any(is_alive(pid) for pid in pids))
        assert bench.leftovers() == []

    def test_project_code_is_imported_by_each_step_anew(self, executor, bench):
        """An edited module is seen by the next step; nothing of it stays imported here."""
        answers = []
        for value in (1, 2):
            with open(bench.path("recipes/model.py"), "w") as file:
                file.write(f"def build():\n    return {value}\n")
            executor.submit(bench.job("call_theirs"))
            answers.append(bench.value())

        assert answers == [1, 2]
