"""What the benchmarks share: running a command with its time and memory, medians, copies of projects."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = os.path.join(os.path.dirname(HERE), "recipes")

Command = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished process."""

    seconds: float
    megabytes: float
    """Peak resident memory of the process, or of the largest child that it waited for."""
    code: int
    output: str
    errors: str

    def json(self) -> Any:
        """Read its stdout as JSON."""
        return json.loads(self.output)


def onnxbuild(*arguments: str, python: str = sys.executable) -> list[str]:
    """Give the command line of ``onnxbuild``: the script beside the interpreter, else its module."""
    script = os.path.join(os.path.dirname(python), "onnxbuild")
    start = [script] if os.path.exists(script) else [python, "-m", "onnxbuild"]
    return [*start, *arguments]


def run(command: Command, folder: str, *, check: bool = True, **variables: str) -> Run:
    """Run a command and wait. Raises `SystemExit` with what it said when it fails and `check` is set."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        environment = {**os.environ, **variables}
        environment.pop("ONNXBUILD_STORE", None)
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=errors,
            stdin=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        # Linux counts kilobytes, macOS bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        done = Run(
            seconds=seconds,
            megabytes=usage.ru_maxrss * unit / 1e6,
            code=child.returncode,
            output=output.read(),
            errors=errors.read(),
        )
    if check and done.code != 0:
        raise SystemExit(f"{' '.join(command)} exits {done.code}\n{done.output}{done.errors}")
    return done


def interleave(commands: Mapping[str, Command], folder: str, rounds: int) -> dict[str, list[Run]]:
    """Run each command once a round, so that a noisy minute is shared by all."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(run(command, folder))
    return found


def median(runs: Sequence[Run]) -> float:
    """Give the median of the seconds."""
    return statistics.median(item.seconds for item in runs)


@contextmanager
def project(*parts: str) -> Iterator[str]:
    """Copy files and folders into a new project folder, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="onnxbuild-bench-") as folder:
        os.mkdir(os.path.join(folder, "configs"))
        for part in parts:
            target = os.path.join(folder, os.path.basename(part))
            if os.path.isdir(part):
                shutil.copytree(part, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(part, target)
        yield os.path.realpath(folder)


def steps_that_ran(result: Mapping[str, Any]) -> list[str]:
    """Give the labels of the steps that ran, from the object that ``run --json`` prints."""
    return [step["label"] for step in result["steps"] if step["status"] == "ran"]


def verdict(value: float, budget: float) -> str:
    """Say whether a value keeps its budget."""
    return "ok" if value <= budget else f"OVER {budget:g}"
