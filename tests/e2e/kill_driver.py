"""Kills real builds at random moments: the build, one of its workers, or all of them.

``python kill_driver.py PROJECT COUNT SEED``. PROJECT holds ``net.yaml`` and is not changed. Prints one JSON object: how
many builds were killed before they had ended, how many had steps finished by then, and what went wrong.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

from crash_driver import leftovers
from forked import published, traces

from onnxbuild.executors.family import find_family

VICTIMS = ("build", "worker", "all")
CALL = [sys.executable, "-P", "-m", "onnxbuild", "run", "net.yaml"]
PATIENCE = 30.0
"""Seconds in which what belongs to a killed build must be gone."""


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(build: subprocess.Popen[str], victim: str, chance: random.Random) -> list[int]:
    """Kill what was chosen; give the processes that must be gone soon."""
    below = sorted(find_family(build.pid) - {build.pid})
    chosen = [build.pid]
    if victim == "worker":
        chosen = [chance.choice(below)] if below else []
    elif victim == "all":
        chosen = [build.pid, *below]
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return below


def try_once(
    folder: str, expected: dict, before: dict, length: float, chance: random.Random
) -> dict:
    """Kill one build, look, and build again."""
    wrong = []
    victim = chance.choice(VICTIMS)
    with tempfile.TemporaryFile("w+") as printed:
        temporary = os.path.join(folder, "elsewhere")
        os.mkdir(temporary)
        build = subprocess.Popen(
            CALL, cwd=folder, stdout=printed, stderr=printed, text=True,
            env=os.environ | {"TMPDIR": temporary},
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            build.wait(chance.uniform(0, length))
        was_running = build.poll() is None
        below = kill(build, victim, chance) if was_running else []
        build.wait(120)
        printed.seek(0)
        said = printed.read()
    if victim == "worker" and was_running and "Traceback" in said:
        wrong.append(f"the build did not end in words: {said}")
    deadline = time.monotonic() + PATIENCE
    while any(map(is_alive, below)) and time.monotonic() < deadline:
        os.sched_yield()
    wrong += [f"process {pid} is left" for pid in below if is_alive(pid)]
    for variant, contents in published(folder).items():
        if contents not in (before.get(variant), expected[variant]):
            wrong.append(f"{variant} is neither the old nor the new one: {contents}")
    finished = traces(folder)
    done = subprocess.run(CALL, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode or "damaged" in done.stderr or "missing" in done.stderr:
        wrong.append(f"the next run needs more than to be called: {done.stdout}{done.stderr}")
    if published(folder) != expected:
        wrong.append("what is published is not what it should be")
    now = traces(folder)
    if any(now.get(trace) != build_id for trace, build_id in finished.items()):
        wrong.append("a step ran again that had finished")
    wrong += leftovers(folder)
    wrong += [f"left outside of the store: {name}" for name in os.listdir(temporary)]
    return {"killed": was_running, "finished": bool(finished), "wrong": wrong, "victim": victim}


def run(project: str, count: int, seed: int) -> dict:
    """Kill `count` builds."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole = os.path.join(scratch, "whole")
        shutil.copytree(project, whole, symlinks=True)
        before = published(whole)
        began = time.monotonic()
        subprocess.run(CALL, cwd=whole, check=True, capture_output=True)
        length = time.monotonic() - began
        expected = published(whole)
        told = {"killed": 0, "with_finished_steps": 0, "problems": []}
        for number in range(count):
            folder = os.path.join(scratch, f"try-{number}")
            shutil.copytree(project, folder, symlinks=True)
            found = try_once(folder, expected, before, length, chance)
            told["killed"] += found["killed"]
            told["with_finished_steps"] += found["finished"]
            told["problems"] += [f"{number} {found['victim']}: {what}" for what in found["wrong"]]
            shutil.rmtree(folder)
        return told


if __name__ == "__main__":
    project, count, seed = sys.argv[1:]
    sys.stdout.write(json.dumps(run(project, int(count), int(seed)), indent=2))
