"""What ``--help`` prints, kept as snapshots."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from onnxbuild.cli.main import COMMANDS

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
REFRESH = (
    "if that is what you want, refresh it: UPDATE_SNAPSHOTS=1 pytest tests/cli/test_cli_help.py"
)


def check_snapshot(name: str, text: str) -> None:
    path = SNAPSHOTS / f"cli-{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"{path} is missing; {REFRESH}"
    assert text == path.read_text(), f"{path} differs; {REFRESH}"


def test_program_help_is_as_written(onnxbuild) -> None:
    """``onnxbuild --help`` lists every command, on a page of 80 columns."""
    done = onnxbuild("--help")

    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    check_snapshot("help", done.stdout)


# argparse of Python 3.13 writes options and usage lines in another way.
@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="the snapshots are those of argparse before 3.13"
)
@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_is_as_written(onnxbuild, name: str) -> None:
    """Each command explains itself."""
    done = onnxbuild(name, "--help")

    assert done.returncode == 0, done.stderr
    check_snapshot(name, done.stdout)


def test_no_help_is_wider_than_a_terminal() -> None:
    """The help fits into 80 columns."""
    wide = {
        path.name: line
        for path in sorted(SNAPSHOTS.glob("cli-*.txt"))
        for line in path.read_text().splitlines()
        if len(line) > 80
    }

    assert wide == {}


def test_unknown_command_names_the_nearest(onnxbuild) -> None:
    """A typo in the command is answered with the command that was meant, and exit code 2."""
    done = onnxbuild("explane", "tiny.yaml")

    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean `onnxbuild explain`?" in done.stderr


def test_no_recipe_is_said(onnxbuild) -> None:
    """A command without its recipe says so."""
    done = onnxbuild("plan")

    assert done.returncode == 2
    assert "no recipe was named" in done.stderr
