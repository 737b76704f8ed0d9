"""Builds that are stopped in the middle, and builds that run elsewhere: no result differs, none is lost."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys

import pytest
from small_project import onnxbuild, ran, run_json

from onnxbuild.stores.local import LocalStore

pytestmark = pytest.mark.e2e

HOLD = """
def build(width=8):
    import signal
    if os.path.exists("hold"):
        with open("ready", "w") as file:
            file.write(str(os.getpid()))
        signal.pause()
    return Net(width)
"""


@pytest.fixture
def held(built, tmp_path):
    """A project without a store, whose model waits while there is a file ``hold``, and says so in ``ready``."""
    folder = tmp_path / "held"
    shutil.copytree(built[0], folder, ignore=shutil.ignore_patterns(".onnxbuild", "artifacts"))
    text = (folder / "model.py").read_text()
    (folder / "model.py").write_text(text[: text.index("def build(")] + HOLD)
    (folder / "hold").touch()
    os.mkfifo(folder / "ready")
    return folder


def start(folder, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Begin a build; give it, and its first worker that waits."""
    command = [sys.executable, "-P", "-m", "onnxbuild", "run", "--json", "small.yaml", *arguments]
    build = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    return build, int((folder / "ready").read_text())


def has_ended(handle: int) -> bool:
    return bool(select.select([handle], [], [], 30)[0])


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def release(folder) -> None:
    (folder / "hold").unlink()
    (folder / "ready").unlink()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)]
)
def test_stopped_build_leaves_no_process_and_loses_only_what_ran(held, number, code):
    """Kill -9, Ctrl-C or SIGTERM: the worker ends too, nothing is published, the next build does the rest."""
    build, worker = start(held, "-j", "1")
    handle = os.pidfd_open(worker)

    build.send_signal(number)
    out, _ = build.communicate()
    gone = has_ended(handle)
    os.close(handle)
    release(held)
    told = json.loads(onnxbuild("plan", "--json", "small.yaml", cwd=held).stdout)["steps"]
    published = os.path.exists(held / "artifacts")
    result = run_json(held)

    assert build.returncode == code
    assert gone
    assert not published
    finished = {step["label"] for step in told if step["status"] == "cached"}
    assert "samples" in finished
    if number != signal.SIGKILL:
        said = json.loads(out)
        assert [error["what"] for error in said["errors"]] == ["interrupted"]
        assert {step["label"] for step in said["steps"] if step["status"] == "ran"} == finished
    assert set(ran(result)) == {step["label"] for step in result["steps"]} - finished


def test_killed_server_is_started_anew(held):
    """The build goes on, and ends as if nothing had happened."""
    build, worker = start(held, "-j", "1")
    handle = os.pidfd_open(worker)

    release(held)
    os.kill(parent_of(worker), signal.SIGKILL)
    out, _ = build.communicate()

    assert has_ended(handle)
    os.close(handle)
    assert json.loads(out)["status"] == "ok"


def test_killed_worker_fails_its_step_in_words(held):
    """Whoever killed it is not us; no failure is kept, so the next build runs the step again."""
    build, worker = start(held, "-j", "1")

    os.kill(worker, signal.SIGKILL)
    out, _ = build.communicate()
    release(held)
    result = run_json(held)

    assert build.returncode == 1
    assert "killed by SIGKILL" in json.loads(out)["errors"][0]["what"]
    assert "reference" in ran(result)


def results(folder) -> dict[str, dict[str, str]]:
    store = LocalStore(str(folder / ".onnxbuild"))
    found = {
        trace.key: {name: artifact.digest for name, artifact in trace.results.items()}
        for trace in store.actions.all_traces()
        if "latency" not in trace.results
    }
    store.close()
    return found


@pytest.mark.parametrize(
    "arguments", [("-j", "1"), ("-j", "4"), ("settings.executor=inline",)], ids=" ".join
)
def test_results_do_not_depend_on_how_steps_are_run(built, tmp_path, arguments):
    """One at a time, four at once, or all in the process of the build: the same keys and results."""
    folder = tmp_path / "again"
    shutil.copytree(built[0], folder, ignore=shutil.ignore_patterns(".onnxbuild", "artifacts"))

    run_json(folder, *arguments)

    assert results(folder) == results(built[0])


def test_two_builds_at_once_run_each_step_once(built, tmp_path):
    """Between them; the one that waits says on which process."""
    folder = tmp_path / "twice"
    shutil.copytree(built[0], folder, ignore=shutil.ignore_patterns(".onnxbuild", "artifacts"))
    command = [sys.executable, "-P", "-m", "onnxbuild", "run", "small.yaml"]

    builds = [
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [build.communicate()[1] for build in builds]

    assert [build.returncode for build in builds] == [0, 0], "".join(told)
    lines = "".join(told).splitlines()
    labels = [
        line.removeprefix("ran ").strip().rsplit("  ", 1)[0]
        for line in lines
        if line.startswith("ran ")
    ]
    assert sorted(labels) == sorted(set(labels))
    assert len(labels) == len(built[1]["steps"])
    waits = [line for line in lines if line.startswith("waits")]
    assert waits
    assert all(
        f"process {builds[0].pid} " in line or f"process {builds[1].pid} " in line for line in waits
    )
