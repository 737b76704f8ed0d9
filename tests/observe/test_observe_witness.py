"""Which job an open is charged to that no hook has seen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from onnxbuild.core.ports import Job
from onnxbuild.observe.witness import COARSE, NetWitness

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")

JOB = Job(
    id="", run="x:y", options={}, inputs={}, outputs=(), label="", store="", root="", folder=None
)


def cat(path):
    subprocess.run(["/bin/cat", path], check=True, capture_output=True)


def read(path):
    with open(path, encoding="utf-8") as file:
        file.read()


def settle(path):
    """Wait until a file is older than the clocks of file systems are coarse."""
    while time.time_ns() - os.stat(path).st_ctime_ns <= COARSE:
        pass


@pytest.fixture
def jobs(project):
    """Two jobs that run at once, and what each of them does in its own time."""
    for name in ("a.txt", "b.txt"):
        settle(project.write(name))
    with NetWitness(project.root, ()) as witness:

        def run(*actions):
            started = []
            for number, _ in enumerate(actions):
                started.append(
                    replace(JOB, id=str(number), seen=f"{project.place}/seen{number + 1}")
                )
                witness.started(started[-1])
            for action in actions:
                project.observe(action)
            return [witness.finished(job) for job in started]

        yield run


def test_what_another_job_tells_of_is_its_own(project, jobs):
    """A file that one step opens in Python is no dependency of the step beside it."""
    assert jobs(lambda: read("a.txt"), lambda: read("b.txt")) == [frozenset(), frozenset()]


def test_a_program_may_have_opened_what_another_job_tells_of(project, jobs):
    """Nobody tells who opened it: the step that started a program gets it, too."""
    first, second = jobs(lambda: cat("a.txt"), lambda: read("a.txt"))

    assert first == {project.path("a.txt")}
    assert second == frozenset()


def test_a_file_that_changes_under_a_program_is_not_known(project, jobs):
    """It may have read what was there before, or what came after."""

    def work():
        cat("a.txt")
        subprocess.run(["/bin/cp", "b.txt", "a.txt"], check=True)

    assert jobs(work) == [None]


def test_a_file_that_is_saved_beside_a_job_is_no_matter(project, jobs):
    """Someone writes a note while the build runs."""
    copy = ["/bin/cp", "a.txt", "b.txt"]

    assert jobs(lambda: subprocess.run(copy, check=True)) == [{project.path("a.txt")}]


def test_native_code_of_the_project_may_have_opened_it_as_well(project, jobs):
    """A function of a C library that the project's own code calls is a program like any other."""
    code = "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.close(libc.open(b'a.txt', 0))\n"
    path = project.write("native.py", code)

    first, second = jobs(
        lambda: exec(compile(code, path, "exec"), {"__file__": path}), lambda: read("a.txt")
    )

    assert first == {project.path("a.txt")}
    assert second == frozenset()
