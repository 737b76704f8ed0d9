"""Ends a small build at every write, flush, rename, removal and commit in turn, and looks at what is left.

``python crash_driver.py PROJECT MODE REMAINDER DIVISOR``. PROJECT holds ``net.yaml`` and is not changed; the points
whose number leaves REMAINDER are tried. Prints one JSON object: the number of points, and what went wrong.

=======  ====================================================================================
MODE     at the point
=======  ====================================================================================
kill     the build is killed, and the worker that it came to, if it was one
torn     the same, and of what was being flushed only the first half had reached the disk
worker   the worker alone is killed; the build ends in words
full     there is no space left on the disk, and there is none from then on
=======  ====================================================================================
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import shutil
import signal
import sqlite3
import struct
import sys
import tempfile

from forked import CALL, call, fork, published, traces, warm_up

from onnxbuild.cli.main import main
from onnxbuild.core import points as file_layer
from onnxbuild.project import store_folder
from onnxbuild.stores.check import check
from onnxbuild.stores.collect import Bounds, collect
from onnxbuild.stores.local import LocalStore

SAVED = struct.Struct("q")
MOST = 4096
"""Points that one build may pass."""
THEIRS, FLUSH = 1, 2
"""What is noted of a point: it is in a worker; a file is flushed there."""


class Points:
    """Counts the points that a build and its workers pass, and does something at one of them."""

    def __init__(self, mode: str, number: int) -> None:
        self.build = os.getpid()
        self._mode = mode
        self._number = number
        self._count = mmap.mmap(-1, SAVED.size + MOST)

    @property
    def passed(self) -> int:
        """How many points were passed, in all processes."""
        return int(SAVED.unpack(self._count[: SAVED.size])[0])

    def list_passed(self, mode: str) -> list[int]:
        """Give the numbers of the points at which something is to be tried: for a worker, its own; torn, flushes.

        The disk is full from a point on, so of two that follow each other one tells.
        """
        wanted = {"worker": THEIRS, "torn": FLUSH}.get(mode)
        return [
            number
            for number in range(0, self.passed, 2 if mode == "full" else 1)
            if wanted is None or self._count[SAVED.size + number] & wanted
        ]

    def __call__(self, what: str, path: str) -> None:
        here = self.passed
        self._count[: SAVED.size] = SAVED.pack(here + 1)
        is_theirs = THEIRS if os.getpid() != self.build else 0
        self._count[SAVED.size + here] = is_theirs | (FLUSH if what == "flush" else 0)
        if self._mode == "full" and here >= self._number and what != "remove":
            if what == "commit":
                raise sqlite3.OperationalError("database or disk is full")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if here != self._number or self._mode == "full":
            return
        # What has another name was whole on the disk before.
        if self._mode == "torn" and what == "flush" and _is_alone(path):
            os.chmod(path, 0o600)
            os.truncate(path, os.path.getsize(path) // 2)
        if self._mode != "worker":
            os.kill(self.build, signal.SIGKILL)
        elif os.getpid() == self.build:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def _is_alone(path: str) -> bool:
    return os.path.isfile(path) and os.stat(path).st_nlink == 1


def build(folder: str, points: Points) -> tuple[int, str]:
    """Build as the command does, with something that happens at a point."""

    def act() -> int:
        points.build = os.getpid()
        file_layer.at = points
        return main(CALL)

    return fork(folder, act)


def look(folder: str, expected: dict, before: dict, points: Points, mode: str) -> list[str]:
    """Build to the point and again without one; give what is wrong afterwards."""
    wrong = []
    code, said = build(folder, points)
    if "Traceback" in said or "onnxbuild itself" in said:
        wrong.append(f"it did not end in words: {said}")
    if mode == "worker" and code != 0 and "was killed by SIGKILL" not in said:
        wrong.append(f"it does not say that a worker was killed: {said}")
    if mode == "full" and code != 0 and "full" not in said:
        wrong.append(f"it does not say that the disk is full: {said}")
    for variant, contents in published(folder).items():
        if contents not in (before.get(variant), expected[variant]):
            wrong.append(f"{variant} is neither the old nor the new one: {contents}")
    finished = traces(folder)
    code, said = call(folder)
    if code != 0 or "damaged" in said or "missing" in said or "quarantine" in said:
        wrong.append(f"the next run needs more than to be called: {said}")
    if published(folder) != expected:
        wrong.append(f"what is published is not what it should be: {published(folder)}")
    now = traces(folder)
    if any(now.get(trace) != build_id for trace, build_id in finished.items()):
        wrong.append("a step ran again that had finished")
    return wrong + leftovers(folder)


def leftovers(folder: str) -> list[str]:
    """Collect, and give what is left that nobody needs, or is not whole."""
    store = LocalStore(store_folder(folder))
    collect(store, Bounds())
    checked = check(store, threads=1)
    wrong = [f"{item.state}: {item.what} {item.path}" for item in checked.damages]
    left = collect(store, Bounds(), dry_run=True)
    if left.files:
        wrong.append(f"collecting twice finds more: {left.files}")
    store.close()
    for place, kept in (("tmp", set()), ("quarantine", set()), ("claims", {"lock"})):
        found = set(os.listdir(os.path.join(store.root, place))) - kept
        wrong += [f"left in {place}: {name}" for name in found]
    wrong += [
        f"left in artifacts: {name}"
        for name in os.listdir(os.path.join(folder, "artifacts", "net"))
        if name.startswith(".")
    ]
    return wrong


def run(project: str, mode: str, remainder: int, divisor: int) -> dict:
    """Try the points of one mode."""
    with tempfile.TemporaryDirectory() as scratch:
        warm_up(project, scratch)
        whole = os.path.join(scratch, "whole")
        shutil.copytree(project, whole, symlinks=True)
        points = Points("count", -1)
        before = published(whole)
        code, said = build(whole, points)
        assert code == 0, said
        expected = published(whole)
        problems = {}
        for number in points.list_passed(mode)[remainder::divisor]:
            folder = os.path.join(scratch, f"try-{number}")
            shutil.copytree(project, folder, symlinks=True)
            wrong = look(folder, expected, before, Points(mode, number), mode)
            if wrong:
                problems[number] = wrong
            shutil.rmtree(folder)
        return {"points": points.passed, "problems": problems}


if __name__ == "__main__":
    project, mode, remainder, divisor = sys.argv[1:]
    sys.stdout.write(json.dumps(run(project, mode, int(remainder), int(divisor)), indent=2))
