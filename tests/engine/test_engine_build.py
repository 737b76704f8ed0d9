"""A build over a real store, with a fake executor."""

from __future__ import annotations

import os
from contextlib import nullcontext
from queue import SimpleQueue

import pytest
from fakes import FakeExecutor, blob_of, fail, make_json, read_file, read_json

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.events import Said, StepWaits
from onnxbuild.core.ports import Failure, Job, Outcome
from onnxbuild.core.step import OWN, Output, Step
from onnxbuild.engine.build import Build
from onnxbuild.engine.keys import find_ingredients, make_key
from onnxbuild.engine.setting import Site
from onnxbuild.observe.witness import NetWitness
from onnxbuild.stores.local import LocalStore


@pytest.fixture
def store(tmp_path):
    store = LocalStore(str(tmp_path / "store"))
    yield store
    store.close()


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "data.txt").write_text("one")
    return folder


@pytest.fixture
def build(store, project):
    """Give a function that builds steps and tells which ran."""

    def run(steps, functions=None, **options):
        outcomes = SimpleQueue()
        executor = FakeExecutor(
            lambda name, outcome: outcomes.put((name, outcome)), functions or {}
        )
        process = Build(
            steps, store=store, executor=executor, outcomes=outcomes,
            site=Site(root=str(project), variables=options.pop("variables", {})), jobs=2, **options,
        )  # fmt: skip
        process.run()
        process.close()
        process.ran = executor.ran
        return process

    return run


def step(label: str, *sources: Step, run: str = "tests:join", **fields) -> Step:
    inputs = {source.label: Output(source) for source in sources}
    return Step(run=run, label=label, inputs=inputs, **fields)


def test_second_build_runs_nothing(build):
    """What was built is found."""
    steps = [first := step("first", options={"a": 1}), step("second", first)]

    assert build(steps).ran == ["first", "second"]
    assert build(steps).ran == []


def test_changed_option_reruns_what_follows(build):
    """The step with the option and what depends on its result, nothing else; going back is all hits."""

    def steps(value):
        first = step("first", options={"a": value})
        return [first, step("second", first), step("other")]

    build(steps(1))

    assert build(steps(2)).ran == ["first", "second"]
    assert build(steps(1)).ran == []


def test_observed_file_reruns_and_touch_does_not(build, project):
    """Editing an observed file reruns the step; a new time alone does not; the old text is a hit."""
    steps = [step("reader", run="tests:read")]
    functions = {"tests:read": read_file("data.txt")}
    build(steps, functions)

    os.utime(project / "data.txt", ns=(1, 1))
    touched = build(steps, functions).ran
    (project / "data.txt").write_text("two")
    edited = build(steps, functions).ran
    (project / "data.txt").write_text("one")
    reverted = build(steps, functions).ran

    assert (touched, edited, reverted) == ([], ["reader"], [])


def test_early_cutoff(build, project):
    """A rerun step with the same result reruns nothing after it."""
    reader = step("reader", run="tests:read")
    steps = [reader, step("after", reader)]

    def same(job):
        outcome = read_file("data.txt")(job)
        return Outcome(
            status="ok", results={"model": make_json("same")}, observations=outcome.observations
        )

    build(steps, {"tests:read": same})
    (project / "data.txt").write_text("two")

    assert build(steps, {"tests:read": same}).ran == ["reader"]


def test_failures_are_never_cached(build):
    """A failed step runs again, and what depends on it is skipped."""
    bad = step("bad", run="tests:bad")
    steps = [bad, step("after", bad)]

    first = build(steps, {"tests:bad": fail("no")})
    second = build(steps)

    assert [record.status for record in first.records] == ["failed", "skipped"]
    assert second.ran == ["bad", "after"]


@pytest.mark.parametrize("damage", ["deleted", "flipped"])
def test_lost_blob_reruns_its_producer(build, store, project, damage):
    """A result whose bytes are needed and gone is built again; what only needs its name is not."""
    producer = step("producer", run="tests:blob")
    functions = {"tests:blob": blob_of(store, "weights"), "tests:consume": lambda job: Outcome(
        status="ok", results={"model": make_json(job.options)})}  # fmt: skip
    build([producer, step("consumer", producer, run="tests:consume", options={"a": 1})], functions)
    path = store.blob_path(store.put_bytes(b"weights"))
    os.chmod(path, 0o644)
    if damage == "deleted":
        os.unlink(path)
    else:
        with open(path, "wb") as file:
            file.write(b"weighty")
    store._whole.clear()

    said = []
    unchanged = build(
        [producer, step("consumer", producer, run="tests:consume", options={"a": 1})], functions
    )
    changed = build(
        [producer, step("consumer", producer, run="tests:consume", options={"a": 2})],
        functions, listen=said.append,
    )  # fmt: skip

    assert unchanged.ran == []
    assert changed.ran == ["producer", "consumer"]
    assert any("producer" in event.what for event in said if isinstance(event, Said))


def test_publishing_what_is_lost_reruns_it(build, store):
    """`ensure` gives whole content, at the price of a run."""
    producer = step("producer", run="tests:blob")
    functions = {"tests:blob": blob_of(store, "weights")}
    process = build([producer], functions)
    os.unlink(store.blob_path(store.put_bytes(b"weights")))

    process.ensure([Output(producer)])

    assert process.ran == ["producer", "producer"]
    assert store.damaged(process.results(Output(producer))) == ()


def test_other_result_after_a_loss_gives_consumers_new_keys(build, store):
    """A producer that is not reproducible: its consumers are keyed by what it gives now."""
    producer = step("producer", run="tests:blob")
    consume = {"tests:consume": lambda job: Outcome(
        status="ok", results={"model": make_json(job.inputs["producer"].digest)})}  # fmt: skip
    before = [producer, step("consumer", producer, run="tests:consume")]
    build(before, consume | {"tests:blob": blob_of(store, "old")})
    os.unlink(store.blob_path(store.put_bytes(b"old")))

    process = build(
        [producer, before[1], step("late", producer, run="tests:consume", options={"x": 1})],
        consume | {"tests:blob": blob_of(store, "new")},
    )

    new = process.results(Output(producer)).digest
    assert read_json(process.results(Output(before[1]))) == new
    assert len(store.traces(process.records[0].key)) == 2


def test_step_that_answers_with_more_steps_is_cached_with_them(build):
    """The new steps run once; the next build finds the growth and all of its steps."""
    source = step("source")
    search = step("search", source, run="tests:search", may_grow=True)
    after = step("after", search)
    grown = {
        "steps": [{"run": "tests:join", "label": "trial", "options": {"n": 1},
                   "inputs": {"model": {"own": "source"}}, "outputs": ["model"]}],
        "outputs": {"model": {"step": 0, "output": "model"}},
    }  # fmt: skip
    functions = {"tests:search": lambda _: Outcome(status="steps", grown=grown)}

    first = build([source, search, after], functions)
    second = build([source, search, after], functions)

    assert first.ran == ["source", "search", "trial", "after"]
    assert second.ran == []
    assert first.results(Output(after)) == second.results(Output(after))
    assert Output(OWN, "x").step is OWN


@pytest.mark.parametrize("status", ["lost", "changed"])
def test_lost_worker_is_tried_again(build, status):
    """A worker that is gone, or under which files changed, is started anew, three times at most."""
    answers = [status, "ok"]

    def flaky(job):
        if answers.pop(0) == status:
            return Outcome(status=status)
        return Outcome(status="ok", results={"model": make_json(1)})

    process = build([step("flaky", run="tests:flaky")], {"tests:flaky": flaky})
    never = build(
        [step("never", run="tests:never")], {"tests:never": lambda _: Outcome(status=status)}
    )

    assert process.ran == ["flaky", "flaky"]
    assert never.ran == ["never"] * 3
    assert never.records[0].status == "failed"


def test_failure_without_words_still_says_something(build):
    """Every failed step has a reason."""
    process = build(
        [step("odd", run="tests:odd")], {"tests:odd": lambda _: Outcome(status="timeout")}
    )

    assert process.records[0].failure == Failure(what="the step ended as 'timeout'")


def test_declared_variables_reach_the_step_and_its_key(build, monkeypatch):
    """Only what a step declares is in its environment; its value is in the key."""
    seen = []

    def look(job):
        seen.append(dict(job.environment))
        return Outcome(status="ok", results={"model": make_json(1)})

    steps = [step("look", run="tests:look", variables=("HF_HOME", "UNSET"))]
    for value in ("a", "b", "a"):
        monkeypatch.setenv("HF_HOME", value)
        build(steps, {"tests:look": look}, variables={"HF_HOME": value, "OTHER": "x"})

    assert seen == [{"HF_HOME": "a"}, {"HF_HOME": "b"}]


def test_waits_for_another_build_and_takes_its_result(build, store, project):
    """A step that another build runs now is not run twice."""
    steps = [step("shared")]
    key = make_key(find_ingredients(steps[0], {}))
    claim = store.claim(key)
    heard = []

    def listen(event):
        heard.append(event)
        if isinstance(event, StepWaits):
            from onnxbuild.core.trace import Trace

            store.record(
                Trace(
                    key=key, ingredients={}, observations=(), results={"model": make_json("theirs")}
                )
            )
            claim.release()

    process = build(steps, listen=listen)

    assert process.ran == []
    assert read_json(process.results(Output(steps[0]))) == "theirs"
    assert any(isinstance(event, StepWaits) for event in heard)


def test_first_result_is_used_and_a_second_is_said(build, store):
    """One key with two results: never the newest, and people are told."""
    first = build(
        [step("odd", run="tests:odd")],
        {"tests:odd": lambda _: Outcome(status="ok", results={"model": make_json(1)})},
    )

    second = build(
        [step("odd", run="tests:odd")],
        {"tests:odd": lambda _: Outcome(status="ok", results={"model": make_json(2)})},
        rerun=lambda _: True,
    )
    again = build([step("odd", run="tests:odd")])

    assert first.ran == second.ran == ["odd"]
    assert again.ran == []
    for process in (second, again):
        assert process.records[0].trace.results == {"model": make_json(1)}
        assert process.records[0].varied == 2


def test_of_several_results_one_whose_content_is_there_is_used(build, store):
    """A result that is lost for good does not make its step run in each build."""

    def blob(text):
        return lambda job: Outcome(
            status="ok",
            results={"model": Artifact(kind="file", digest=store.put_bytes(text), size=1)},
        )

    first = build([step("odd", run="tests:odd")], {"tests:odd": blob(b"1")})
    build([step("odd", run="tests:odd")], {"tests:odd": blob(b"2")}, rerun=lambda _: True)
    os.unlink(store.blob_path(first.records[0].trace.results["model"].digest))
    again = build([step("odd", run="tests:odd")])

    assert again.ran == []
    assert os.path.exists(store.blob_path(again.records[0].trace.results["model"].digest))


def test_result_is_not_kept_where_opens_may_have_been_missed(build):
    """What the net under observation has lost could be anything."""

    class Overflowed:
        def started(self, job): ...

        def finished(self, job):
            return None

        def own(self, paths):
            return nullcontext()

    heard = []

    first = build([step("a")], witness=Overflowed(), listen=heard.append)
    second = build([step("a")])

    assert first.ran == second.ran == ["a"]
    assert any(isinstance(event, Said) and "not kept" in event.what for event in heard)


def test_lost_events_of_the_net_are_passed_on(project):
    """The witness answers with nothing that could be believed."""
    job = Job(
        id="1",
        run="x:y",
        options={},
        inputs={},
        outputs=(),
        label="",
        store="",
        root=str(project),
        folder=None,
    )

    with NetWitness(str(project), ()) as witness:
        witness.started(job)
        witness._net.lost = "too many"

        assert witness.finished(job) is None


def test_build_that_is_broken_off_gives_back_its_claims(store, project):
    """After Ctrl-C in a script that goes on, the same step can be built again in the same process."""
    only = step("only")

    class Interrupted(FakeExecutor):
        def submit(self, job):
            raise KeyboardInterrupt

    site = Site(root=str(project), ignored=(store.root,))
    queue = SimpleQueue()
    process = Build(
        [only], store=store, executor=Interrupted(None, {}), outcomes=queue, site=site, jobs=1
    )

    with pytest.raises(KeyboardInterrupt):
        process.run()
    process.close()

    claim = store.claim(make_key(find_ingredients(only, {})))
    assert claim.holder == ""
    claim.release()
