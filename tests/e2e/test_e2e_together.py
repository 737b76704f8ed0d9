"""Many builds on one store at the same time: each action runs once between them all.

With the default executor, and two builds, this is held in ``test_e2e_interrupted`` too.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from itertools import islice
from threading import Timer

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_project import onnxbuild, write

from onnxbuild.stores.local import LocalStore

pytestmark = pytest.mark.e2e

OWN = """
    import fcntl, os
    from pathlib import Path

    PLACE = Path(__file__).parent.parent

    def log(what):
        # Outside, and one write at the end of the file, so that all processes can share it.
        file = os.open(PLACE / "ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{what}\\n".encode())
        os.close(file)

    def mark(model, name):
        log(name)
        if name == "shared":
            with open(PLACE / "gate", "a") as gate:
                fcntl.flock(gate, fcntl.LOCK_SH)
        model.graph.doc_string += name
        return model

    def rows():
        import numpy
        log("rows")
        return [{"x": numpy.full((2, 4), number, numpy.float32)} for number in range(3)]

    def metric(pairs):
        log("metric")
        return sum(float(outputs["y"].sum()) for outputs, _ in pairs)
"""

RECIPE = """
    name: r{}
    model: {{onnx: m.onnx}}
    inputs:
      x: {{shape: [n, 4]}}
    outputs: [y]
    data:
      rows: {{entry: "own.py:rows"}}
    stages:
      shared: {{use: "own.py:mark", name: shared}}
      last: {{use: "own.py:mark", from: shared, name: last{}}}
    verify:
      shared: {{metric: "own.py:metric", data: rows, max_drop: 0}}
    publish: [shared, last]
    settings: {{executor: inline}}
"""

NUMBERS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project of four recipes that differ in their last stage; what imports PyTorch has run."""
    folder = tmp_path_factory.mktemp("together") / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    write(folder, own_py=OWN, **{f"r{n}_yaml": RECIPE.format(n, n) for n in NUMBERS})
    weight = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [weight],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "m.onnx")
    done = onnxbuild("run", "r1.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A copy of the project, in which all code of the user's is to run anew."""
    shutil.copytree(made, tmp_path / "project")
    with open(tmp_path / "project" / "own.py", "a") as file:
        file.write("# edited\n")
    return tmp_path


@pytest.fixture
def gate(place):
    """What holds up the shared stage until it is closed."""
    with open(place / "gate", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


PATIENCE = 240.0
"""Seconds after which a build is taken for one that waits for ever."""


@pytest.fixture
def start(place):
    """Give a function that begins to build a recipe by its number."""
    with ExitStack() as stack:

        def begin(number):
            command = [sys.executable, "-P", "-m", "onnxbuild", "run", f"r{number}.yaml"]
            build = subprocess.Popen(
                command,
                cwd=place / "project",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            # A build that waits for ever fails the test; it does not hang it.
            timer = Timer(PATIENCE, build.kill)
            timer.start()
            stack.callback(timer.cancel)
            return stack.enter_context(build)

        yield begin


def read_until(build, beginning, heard=None):
    """Read what a build says up to a line, and give that; all goes to `heard`."""
    for line in build.stderr:
        if heard is not None:
            heard.append(line)
        if line.startswith(beginning):
            return line
    return ""


def read_doc_string(place, number, variant):
    path = place / "project" / "artifacts" / f"r{number}" / variant / "model.onnx"
    return onnx.load(path).graph.doc_string


def test_eight_builds_run_each_action_once(place, start, gate):
    """Four recipes, each built by two processes: all wait for the one that runs the shared stage, and say so."""
    builds = [start(number) for number in NUMBERS * 2]
    heard = []

    with ThreadPoolExecutor(len(builds)) as pool:
        said = [pool.submit(read_until, build, "waits   shared", heard) for build in builds]
        # The one that runs it says nothing more before the gate opens.
        waiting = [each.result() for each in islice(as_completed(said), len(builds) - 1)]
        gate.close()
        for each in [pool.submit(read_until, build, "the end", heard) for build in builds]:
            each.result()
        codes = [build.wait() for build in builds]

    assert codes == [0] * len(builds)
    (holder,) = {line.partition(": process ")[2].split()[0] for line in waiting}
    assert int(holder) in {build.pid for build in builds}
    # What each build says that it ran: steps of our own are run as seldom as those that log.
    ran = Counter(line.rsplit("  ", 1)[0] for line in heard if line.startswith("ran "))
    assert ran
    assert max(ran.values()) <= len(NUMBERS)
    assert {ran[label] for label in ran if "last" not in label} == {1}
    logged = Counter((place / "ran").read_text().split())
    assert logged == {"rows": 1, "shared": 1, "metric": 2} | {f"last{n}": 1 for n in NUMBERS}
    store = LocalStore(str(place / "project" / ".onnxbuild"))
    traces = Counter((trace.key, trace.observations) for trace in store.actions.all_traces())
    store.close()
    assert set(traces.values()) == {1}
    for number in NUMBERS:
        assert read_doc_string(place, number, "shared") == "shared"
        assert read_doc_string(place, number, "last") == f"sharedlast{number}"


def test_the_claim_of_a_killed_build_is_taken_over(place, start, gate):
    """By the one that waits for it, which runs the step then: nobody waits for the dead."""
    killed = start(1)
    while not (place / "ran").exists() or "shared" not in (place / "ran").read_text():
        assert killed.poll() is None
    other = start(2)
    told = read_until(other, "waits   shared")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    gate.close()
    said = other.stderr.read()

    assert f"process {killed.pid} " in told
    assert other.wait() == 0, said
    assert (place / "ran").read_text().split().count("shared") == 2
    assert read_doc_string(place, 2, "last") == "sharedlast2"
