"""Calls that are wrong, or made where little is allowed: what people read, and no traceback."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from onnxbuild.cli import main as command_line
from onnxbuild.cli import plan
from onnxbuild.cli.progress import _cut


def test_an_option_that_is_not_there_is_suggested(onnxbuild, project):
    """A misspelt option gives the nearest one, in the words of every other error."""
    done = onnxbuild("run", "tiny.yaml", "--josb", "2")

    assert done.returncode == 2
    assert done.stderr == (
        "error: `onnxbuild run` has no option --josb\n  hint: did you mean --jobs?\n"
    )


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_jobs_are_counted_from_one(onnxbuild, project, jobs):
    """No number of jobs is taken for all cores."""
    done = onnxbuild("run", "tiny.yaml", f"--jobs={jobs}")

    assert done.returncode == 2
    assert "must be a whole number of at least 1" in done.stderr


@pytest.mark.parametrize("command", ["run", "plan", "explain", "graph"])
def test_a_variant_that_is_not_there_is_no_success(onnxbuild, project, command):
    """``--only`` with a wrong name builds nothing and says so."""
    done = onnxbuild(command, "tiny.yaml", "--only", "slmi")

    assert done.returncode == 2
    assert done.stderr == "error: there is no variant 'slmi'\n  hint: did you mean 'slim'?\n"


def test_a_stage_that_is_not_published_is_no_variant(onnxbuild, project):
    """The hint says how to publish it."""
    done = onnxbuild("run", "tiny.yaml", "stages.half=float16", "--only", "half")

    assert done.returncode == 2
    assert "publish=[half] publishes it" in done.stderr


def test_rerun_takes_what_the_dry_run_takes(onnxbuild, project):
    """A part of a name is enough, and a wrong one is refused alike."""
    dry, real = (onnxbuild("run", "tiny.yaml", "--rerun", "exprot", *more) for more in (["-n"], []))

    assert dry.returncode == real.returncode == 2
    assert dry.stderr == real.stderr
    assert "did you mean 'export'?" in real.stderr


def test_a_wrong_call_is_json_when_that_was_asked(onnxbuild, project):
    """Programs that read stdout get the one object in every case."""
    done = onnxbuild("run", "tiny.yaml", "--json", "--only", "slmi")

    assert done.returncode == 2
    assert '"status": "failed"' in done.stdout
    assert not done.stderr


def test_a_defect_of_ours_shows_no_traceback(capsys, monkeypatch):
    """Only ``--debug`` shows where onnxbuild itself failed."""

    def fail(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(plan, "open_workplace", fail)

    code = command_line.main(["plan", "tiny.yaml"])

    assert code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: onnxbuild itself failed: ZeroDivisionError: by zero\n")
    assert "--debug" in said
    with pytest.raises(ZeroDivisionError):
        command_line.main(["plan", "tiny.yaml", "--debug"])


def test_a_full_disk_behind_stdout_is_said(project, environment):
    """What cannot be printed is an error in words, as text and as JSON."""
    for more in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "onnxbuild", "validate", "tiny.yaml", *more],
                cwd=project,
                env=environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )

        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr


def test_who_has_read_enough_may_leave(project, environment):
    """A reader that closes the pipe ends nothing in an error."""
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "onnxbuild", "schema"],
        cwd=project,
        env=environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert done.returncode == 0
    assert not done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_place_that_cannot_be_written_can_be_looked_at(onnxbuild, project):
    """Recipes are checked and planned where no store can be made; a build says what it needs."""
    nowhere = "/proc/onnxbuild"

    validated = onnxbuild("validate", "tiny.yaml", ONNXBUILD_STORE=nowhere)
    planned = onnxbuild("plan", "tiny.yaml", ONNXBUILD_STORE=nowhere)
    built = onnxbuild("run", "tiny.yaml", ONNXBUILD_STORE=nowhere)

    assert validated.stdout == "ok: tiny (tiny.yaml)\n"
    assert planned.returncode == 0, planned.stderr
    assert "nothing like it was ever built" in planned.stdout
    assert built.returncode == 1
    assert built.stderr.startswith("error: cannot write the store")


def test_a_link_to_a_recipe_is_a_recipe_of_its_own_folder(onnxbuild, project):
    """What is remembered of it rests on the files beside the link."""
    there = project / "there"
    (there / "tiny").mkdir(parents=True)
    (there / "tiny/model.py").write_text((project / "tiny/model.py").read_text())
    (there / "pyproject.toml").touch()
    (there / "tiny.yaml").symlink_to(project / "tiny.yaml")

    assert onnxbuild("validate", "there/tiny.yaml").returncode == 0
    (there / "tiny/model.py").write_text("def make(): ...\n")
    done = onnxbuild("validate", "there/tiny.yaml")

    assert done.returncode == 2
    assert "has no 'build'" in done.stderr


def test_a_path_may_look_like_an_override(onnxbuild, project):
    """A recipe that is there is a recipe, whatever signs its name has."""
    (project / "a=b.yaml").write_text((project / "tiny.yaml").read_text())

    done = onnxbuild("validate", "a=b.yaml")

    assert done.stdout == "ok: tiny (a=b.yaml)\n"


@pytest.mark.parametrize(
    ("name", "why", "shown"),
    [
        ("export", "new", ("export", "new")),
        ("export", "export.opset: 18 → 20", ("export", "export.opse…")),
        ("verify a long variant", "new", ("verify a long varia…", "")),
        ("verify a long varia", "new", ("verify a long varia", "")),
    ],
)
def test_a_live_line_fits(name, why, shown):
    """The reason is cut first, then the name."""
    assert _cut(name, why, 20) == shown


@pytest.mark.e2e
def test_a_terminal_shows_the_running_steps(project, environment):
    """While steps run there is a line for each and a bar for the whole; at the end both are gone."""
    parent, child = pty.openpty()
    variables = {**environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    variables.pop("CI", None)
    running = subprocess.Popen(
        [sys.executable, "-m", "onnxbuild", "run", "tiny.yaml"],
        cwd=project,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=child,
    )
    os.close(child)

    shown = read_terminal(parent)

    assert running.wait(60) == 0
    assert "steps" in shown
    assert "samples  " in shown
    assert "━" in shown
    assert shown.rindex("\x1b[2K") > shown.rindex("━")


def read_terminal(descriptor):
    """Read until the other side is closed, which Linux tells by an error."""
    parts = []
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if not select.select([descriptor], [], [], 1)[0]:
            continue
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()
