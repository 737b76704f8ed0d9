"""The scheduler, driven by hand: no I/O, no clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.step import OWN, Output, Resources, Step
from onnxbuild.engine.scheduler import Failed, Found, Grew, LookUp, Lost, Missing, Run, Scheduler


def make_step(label: str, *sources: Step, **fields: object) -> Step:
    inputs = {f"from_{source.label}": Output(source) for source in sources}
    return Step(run="tests:nothing", label=label, inputs=inputs, **fields)


def make_artifact(name: str) -> Artifact:
    return Artifact(kind="json", digest=f"b3:{name}", size=1)


def drive(scheduler: Scheduler, cached: set[str] = frozenset(), failing: set[str] = frozenset()):
    """Answer every instruction; give the labels that ran, in order, and the digests each was given."""
    ran: list[str] = []
    pending = scheduler.start()
    while pending:
        instruction = pending.pop(0)
        label = scheduler.nodes[instruction.node].step.label
        match instruction:
            case LookUp(node):
                event = (
                    Found(node, {"model": make_artifact(label)})
                    if label in cached
                    else Missing(node)
                )
            case Run(node):
                ran.append(label)
                event = (
                    Failed(node)
                    if label in failing
                    else Found(node, {"model": make_artifact(label)})
                )
        pending.extend(scheduler.handle(event))
    return ran


def test_runs_producers_first_and_each_once():
    """A diamond runs its top, both sides and its bottom, each once."""
    top = make_step("top")
    left, right = make_step("left", top), make_step("right", top)
    bottom = make_step("bottom", left, right)

    ran = drive(Scheduler([top, left, right, bottom], jobs=4))

    assert ran[0] == "top"
    assert set(ran[1:3]) == {"left", "right"}
    assert ran[3:] == ["bottom"]


def test_cached_steps_do_not_run():
    """What is found is not run; what follows from it still is."""
    first = make_step("first")
    second = make_step("second", first)

    ran = drive(Scheduler([first, second], jobs=1), cached={"first"})

    assert ran == ["second"]


def test_failure_skips_what_depends_on_it():
    """Without keep_going nothing new starts after a failure; with it only dependents are skipped."""
    bad = make_step("bad")
    after = make_step("after", bad)
    other = make_step("other")
    steps = [bad, after, other]

    stopping = Scheduler(steps, jobs=1)
    going = Scheduler(steps, jobs=1, keep_going=True)

    assert drive(stopping, failing={"bad"}) == ["bad"]
    assert drive(going, failing={"bad"}) == ["bad", "other"]
    assert [node.state for node in going.nodes] == ["failed", "skipped", "done"]


def test_no_more_than_jobs_at_once():
    """Only as many run instructions are out as there are jobs."""
    steps = [make_step(f"s{index}") for index in range(5)]
    scheduler = Scheduler(steps, jobs=2)

    runs = []
    for instruction in scheduler.start():
        runs += [
            item for item in scheduler.handle(Missing(instruction.node)) if isinstance(item, Run)
        ]

    assert len(runs) == 2


def test_what_most_waits_for_goes_first():
    """Of steps that become ready together, the one at the start of the longest way to the end is first."""
    top = make_step("top")
    short = make_step("short", top)
    long = make_step("long", top)
    longer = make_step("longer", long)

    ran = drive(Scheduler([top, short, long, longer], jobs=1))

    assert ran == ["top", "long", "short", "longer"]


def test_what_measures_time_goes_after_what_does_not():
    """Of what nothing waits for: the fewer run beside it, the better it measures."""
    source = make_step("source")
    timing = make_step("timing", source, timed=True)
    others = [make_step(name, source) for name in ("one", "two")]

    ran = drive(Scheduler([source, timing, *others], jobs=1))

    assert ran == ["source", "one", "two", "timing"]


def test_successors_are_those_that_what_runs_makes_possible():
    """Not those that need more than what is done or on its way, and none twice."""
    one, two = make_step("one"), make_step("two")
    both = make_step("both", one, two)
    far = make_step("far", both)
    beside = make_step("beside", one, far)
    scheduler = Scheduler([one, two, both, far, beside], jobs=2)
    scheduler.start()
    started = [*scheduler.handle(Missing(0)), *scheduler.handle(Missing(1))]

    assert started == [Run(0, {}), Run(1, {})]
    assert [node.step.label for node in scheduler.successors([0, 1])] == ["both"]


def test_exclusive_runs_alone_and_last():
    """A step that measures time waits for everything that can run, and nothing starts beside it."""
    timing = make_step("timing", resources=Resources(exclusive=True))
    plain = make_step("plain")
    scheduler = Scheduler([timing, plain], jobs=4)

    first = []
    for instruction in scheduler.start():
        first += scheduler.handle(Missing(instruction.node))
    second = scheduler.handle(Found(1, {"model": make_artifact("plain")}))

    assert first == [Run(1, {})]
    assert second == [Run(0, {})]


def test_step_that_answers_with_more_steps():
    """New steps run, may use the growing step's own inputs, and their output stands for its own."""
    source = make_step("source")
    search = make_step("search", source, may_grow=True)
    user = make_step("user", search)
    trial = Step(run="tests:nothing", label="trial", inputs={"model": Output(OWN, "from_source")})
    better = make_step("better", trial)
    scheduler = Scheduler([source, search, user], jobs=1)

    ran, pending, given = [], scheduler.start(), {}
    while pending:
        instruction = pending.pop(0)
        label = scheduler.nodes[instruction.node].step.label
        if isinstance(instruction, LookUp):
            pending += scheduler.handle(Missing(instruction.node))
            continue
        ran.append(label)
        given[label] = dict(instruction.inputs)
        if label == "search":
            event = Grew(instruction.node, [trial, better], {"model": Output(better)})
        else:
            event = Found(instruction.node, {"model": make_artifact(label)})
        pending += scheduler.handle(event)

    assert ran == ["source", "search", "trial", "better", "user"]
    assert given["trial"] == {"model": make_artifact("source")}
    assert given["user"] == {"from_search": make_artifact("better")}


def test_lost_content_reruns_its_producer():
    """A consumer that finds its input lost waits for the producer, which runs without a look-up."""
    producer = make_step("producer")
    consumer = make_step("consumer", producer)
    scheduler = Scheduler([producer, consumer], jobs=1)
    scheduler.start()
    scheduler.handle(Found(0, {"model": make_artifact("old")}))
    scheduler.handle(Missing(1))

    again = scheduler.handle(Lost(1, [(0, "model")]))
    after = scheduler.handle(Found(0, {"model": make_artifact("old")}))

    assert again == [Run(0, {})]
    assert after == [LookUp(1, {"from_producer": make_artifact("old")})]


def test_other_results_after_a_loss_ask_anew_for_consumers():
    """When the producer now gives something else, what was built on the old content is looked up anew."""
    producer = make_step("producer")
    done = make_step("done", producer)
    reader = make_step("reader", producer)
    scheduler = Scheduler([producer, done, reader], jobs=1)
    scheduler.start()
    scheduler.handle(Found(0, {"model": make_artifact("old")}))
    scheduler.handle(Found(1, {"model": make_artifact("done")}))
    scheduler.handle(Missing(2))
    scheduler.handle(Lost(2, [(0, "model")]))

    instructions = scheduler.handle(Found(0, {"model": make_artifact("new")}))

    assert {item.node for item in instructions} == {1, 2}
    assert all(
        item == LookUp(item.node, {"from_producer": make_artifact("new")}) for item in instructions
    )


def test_loss_at_publishing():
    """A publish that finds its content lost, after everything is done, reruns the producer."""
    producer = make_step("producer")
    scheduler = Scheduler([producer], jobs=1)
    drive(scheduler, cached={"producer"})

    assert scheduler.handle(Lost(None, [(0, "model")])) == [Run(0, {})]


def test_loss_behind_a_step_that_grew():
    """The step that really made the content runs again, and what had grown around it follows."""
    search = make_step("search", may_grow=True)
    user = make_step("user", search)
    trial = make_step("trial")
    scheduler = Scheduler([search, user], jobs=1)
    scheduler.start()
    scheduler.handle(Grew(0, [trial], {"model": Output(trial)}))
    scheduler.handle(Found(2, {"model": make_artifact("trial")}))
    scheduler.handle(Missing(1))

    again = scheduler.handle(Lost(1, [(0, "model")]))
    after = scheduler.handle(Found(2, {"model": make_artifact("trial")}))

    assert again == [Run(2, {})]
    assert after == [LookUp(1, {"from_search": make_artifact("trial")})]


def test_chain_of_ten_thousand():
    """Long chains need no recursion."""
    steps = [make_step("0")]
    for index in range(1, 10_000):
        steps.append(make_step(str(index), steps[-1]))

    ran = drive(Scheduler(steps, jobs=2))

    assert ran == [str(index) for index in range(10_000)]


@given(st.data())
def test_any_graph_runs_each_step_once_after_its_inputs(data):
    """Never early, never twice, never not at all."""
    count = data.draw(st.integers(1, 12))
    steps: list[Step] = []
    for index in range(count):
        sources = (
            data.draw(st.lists(st.sampled_from(steps), unique_by=id, max_size=3)) if steps else []
        )
        steps.append(make_step(str(index), *sources))
    cached = set(data.draw(st.lists(st.integers(0, count - 1).map(str))))

    ran = drive(Scheduler(steps, jobs=data.draw(st.integers(1, 4))), cached=cached)

    assert sorted(ran) == sorted({step.label for step in steps} - cached)
    position = {label: place for place, label in enumerate(ran)}
    for step in steps:
        for output in step.inputs.values():
            if step.label in position and output.step.label in position:
                assert position[output.step.label] < position[step.label]


def test_steps_that_are_added_later_are_looked_up_like_any_other():
    """Their inputs are done by then; nothing else is asked for again."""
    first = make_step("first")
    scheduler = Scheduler([first], jobs=1)
    drive(scheduler)
    late = make_step("late", first)

    instructions = scheduler.add([late, make_step("later", late)])

    assert instructions == [LookUp(1, {"from_first": make_artifact("first")})]
    assert scheduler.handle(Missing(1)) == [Run(1, {"from_first": make_artifact("first")})]
