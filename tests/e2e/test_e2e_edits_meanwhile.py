"""Edits while a build runs, builds that are under way at the same time, and variables of the environment.

No test waits for a time: a step stops at a pipe until the test has done what it does meanwhile.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from readers import Builder, Reader, make, text

from onnxbuild.core.events import StepWaits

pytestmark = pytest.mark.e2e

GATE = """
import os

def pause():
    # Written to a log outside, since what a step itself writes there is no dependency of its.
    log = os.open(HERE.parent.parent / "ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, b"x")
    os.close(log)
    gate = HERE / "gate"
    if gate.exists():
        gate.read_bytes()
"""


def gated(code, write):
    """Make a reader that reads, then waits at the gate, the first time that it runs."""

    def begin(folder, number):
        write(folder, number)
        if number == 1:
            os.mkfifo(folder / "gate")

    return Reader(name="gated", code=GATE + code, write=begin, told="")


def runs(base):
    return len((base / "ran").read_bytes())


@pytest.fixture
def start(tmp_path):
    """Give a function that makes a project of one reader and a builder of it."""
    builders = []

    def begin(reader, *, again=False):
        if not again:
            make(tmp_path, [reader])
        # These readers import no library, so that the server need not either.
        builders.append(Builder(tmp_path, [reader], expected=()))
        return builders[-1]

    yield begin
    for builder in builders:
        builder.__exit__()


PAUSED = "\n\ndef value():\n    found = read()\n    pause()\n    return found\n"


@pytest.mark.parametrize(
    ("code", "write"),
    [
        pytest.param(
            "def read():\n    return (HERE / 'a.txt').read_text()", text("a.txt"), id="file"
        ),
        pytest.param(
            "def read():\n    import late\n    return late.VALUE",
            text("late.py", form="VALUE = {}\n"),
            id="module",
        ),
        pytest.param(
            "def read():\n    return len(list((HERE / 'images').iterdir()))",
            lambda folder, number: text("images", f"{number}.png")(folder, number),
            id="listing",
        ),
        pytest.param(
            "def read():\n    place = HERE / 'a.txt'\n    return place.read_text() if place.exists() else 1",
            lambda folder, number: number == 2 and text("a.txt")(folder, number),
            id="looked for in vain",
        ),
    ],
)
def test_a_file_that_is_saved_while_a_step_runs(start, tmp_path, code, write):
    """The result of neither state is kept: the step runs again, with what is there then."""
    reader = gated(code + PAUSED, write)
    builder = start(reader)
    folder = builder.root / "gated"

    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(builder.build)
        with open(folder / "gate", "w"):
            reader.write(folder, 2)
            (folder / "gate").unlink()
        ran = built.result()

    assert ran == ["gated"]
    assert builder.value("gated") == 2
    assert runs(tmp_path) == 2
    assert builder.build() == []


def test_two_builds_with_an_edit_between_them(start, tmp_path):
    """The one that begins after the edit waits for the other, and neither gives the old number."""
    reader = gated("def read():\n    return (HERE / 'a.txt').read_text()" + PAUSED, text("a.txt"))
    first, second = start(reader), start(reader, again=True)
    waits = Event()
    said = []

    def listen(event):
        if isinstance(event, StepWaits):
            said.append(event.holder)
            waits.set()

    with ThreadPoolExecutor(2) as pool:
        builds = [pool.submit(first.build)]
        with open(first.root / "gated" / "gate", "w"):
            reader.write(first.root / "gated", 2)
            builds.append(pool.submit(second.build, listen=listen))
            assert waits.wait(30)
            (first.root / "gated" / "gate").unlink()
        ran = [name for build in builds for name in build.result()]

    assert said[0].startswith(f"process {os.getpid()} ")
    assert ran == ["gated"]
    assert (first.value("gated"), second.value("gated")) == (2, 2)
    assert runs(tmp_path) == 2


VARIABLES = """
import os, subprocess

def value():
    seen = [name for name in os.environ if name.startswith("OF_TEST_")]
    told = subprocess.run(["env"], capture_output=True, check=True, text=True).stdout
    assert seen == ["OF_TEST_DECLARED"], seen
    assert "OF_TEST_SECRET" not in told
    return os.environ["OF_TEST_DECLARED"]
"""


def test_variables_of_the_environment(start, monkeypatch):
    """A declared one counts, and `explain` names it; any other reaches neither a step nor what it starts."""
    builder = start(Reader(name="a", code=VARIABLES, write=lambda *_: None, told=""))
    builder.pass_env = ("OF_TEST_DECLARED",)
    told, ran, values = [], [], []

    for declared, secret in (("1", "x"), ("2", "x"), ("2", "y"), ("1", "y")):
        monkeypatch.setenv("OF_TEST_DECLARED", declared)
        monkeypatch.setenv("OF_TEST_SECRET", secret)
        builder.variables = dict(os.environ)
        told.append(builder.explain())
        ran.append(builder.build())
        values.append(builder.value("a"))

    assert told[1] == {"a": ["the environment variable OF_TEST_DECLARED changed"]}
    assert told[2:] == [{}, {}]
    assert ran == [["a"], ["a"], [], []]
    assert values == [1, 2, 2, 1]
