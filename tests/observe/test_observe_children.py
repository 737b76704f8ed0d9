import os
import subprocess
import sys

import pytest

from onnxbuild.observe.net import has_started


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_a_forked_child_is_observed(project):
    """What it reads, looks for and writes, in the order in which the whole step did."""
    project.write("a.txt")

    def work():
        child = os.fork()
        if child == 0:
            read("a.txt")
            os.path.exists("missing.txt")
            with open("out.txt", "w", encoding="utf-8") as file:
                file.write("x")
            os._exit(0)
        os.waitpid(child, 0)
        read("out.txt")

    seen = project.observe(work)

    assert "./a.txt" in seen.names("file")
    assert "./missing.txt" in seen.names("absent")
    assert seen.kinds("./out.txt") == set()


def test_a_python_subprocess_is_observed(project):
    """Its script, its imports and its files, also when it runs in another folder."""
    project.write("tools/x.py", "import helper\nopen('../a.txt').read()\n")
    project.write("tools/helper.py", "X = 1\n")
    project.write("a.txt")

    seen = project.observe(
        lambda: subprocess.run([sys.executable, "x.py"], cwd="tools", check=True)
    )

    assert {"./tools/x.py", "./tools/helper.py", "./a.txt"} <= seen.names("file")
    assert "ONNXBUILD_OBSERVE" not in os.environ


def test_a_program_of_the_project_counts(project):
    """Not Python: the program itself is a file that the step reads."""
    path = project.write("tool.sh", "#!/bin/sh\nexit 0\n")
    os.chmod(path, 0o755)

    seen = project.observe(lambda: subprocess.run(["./tool.sh"], check=True))

    assert "./tool.sh" in seen.names("file")


def test_the_users_own_sitecustomize_still_runs(project, monkeypatch):
    """Ours steps aside for the next of its name."""
    project.write("own/sitecustomize.py", "import builtins\nbuiltins.own = 'ran'\n")
    monkeypatch.setenv("PYTHONPATH", project.path("own"))
    result = []

    def work():
        done = subprocess.run(
            [sys.executable, "-c", "print(own)"], check=True, capture_output=True, text=True
        )
        result.append(done.stdout)

    seen = project.observe(work)

    assert result == ["ran\n"]
    assert "./own/sitecustomize.py" in seen.names("file")
    assert os.environ["PYTHONPATH"] == project.path("own")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing_children_are_observed(project, method):
    """However they are started."""
    project.write("data.txt")
    project.write(
        "work.py",
        f"""
import multiprocessing
def read(path):
    with open(path) as file:
        return file.read()
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    child = context.Process(target=read, args=("data.txt",))
    child.start()
    child.join()
    raise SystemExit(child.exitcode)
""",
    )

    seen = project.observe(lambda: subprocess.run([sys.executable, "work.py"], check=True))

    assert {"./work.py", "./data.txt"} <= seen.names("file")


@pytest.mark.parametrize(
    ("words", "environment", "is_deaf"),
    [
        pytest.param(("-c", ""), None, False, id="ours"),
        pytest.param(("-u", "-c", "", "-I"), None, False, id="its own argument"),
        pytest.param(("-W", "ignore", "-c", ""), None, False, id="option with a value"),
        pytest.param(("-I", "-c", ""), None, True, id="isolated"),
        pytest.param(("-uS", "-c", ""), None, True, id="no site"),
        pytest.param(("-c", ""), {}, True, id="another environment"),
    ],
)
def test_a_python_that_cannot_be_observed_is_a_program_like_any_other(
    project, words, environment, is_deaf
):
    """What it reads, the net sees, and the step that started it is charged with it."""
    command = [sys.executable, *words]

    project.observe(lambda: subprocess.run(command, env=environment, check=True))

    assert has_started(os.path.join(project.place, "seen1")) == is_deaf
