"""The driver's side of the net: which files were opened while a job ran, and are told of by none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from onnxbuild.core.ports import Job
from onnxbuild.observe.net import Net, has_started

COARSE = 20_000_000
"""Nanoseconds by which the times that a file system keeps may lag behind the clock."""


class NetWitness:
    """A net under the observation of steps, spread when the first of them begins."""

    def __init__(
        self, root: str, ignored: Sequence[str], roots: Mapping[str, str] | None = None
    ) -> None:
        # Our own code is part of every key; the server opens it for all jobs.
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self._net = Net(root, (*ignored, package), roots)
        self._started = False
        self._running: dict[str, tuple[int, int, Job]] = {}
        """By id: the moment in the net at which a job began, the time in nanoseconds, the job."""
        self._ended: list[tuple[int, Job]] = []
        """Jobs that have ended, with the moment when they had."""

    def __enter__(self) -> NetWitness:  # noqa: PYI034 - there are no subclasses
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            self._net.stop()

    @property
    def gap(self) -> str:
        """Why files below the root could be opened unseen, where that is not the system's nature; else empty."""
        return self._net.reason if sys.platform.startswith("linux") else ""

    def started(self, job: Job) -> None:
        """Note that a job begins."""
        if not self._started:
            self._net.start()
            self._started = True
        self._running[job.id] = (self._net.mark(), time.time_ns() - COARSE, job)

    def finished(self, job: Job) -> Iterable[str] | None:
        """Give the paths opened since the job began that nothing else explains.

        What other jobs tell of that ran meanwhile is theirs, unless this one started a program in which no hook
        is: that may have opened the same file. None where nothing is certain: events were lost, or such a file
        was changed while the job ran, so that what it read is not known.
        """
        began, at, _ = self._running.pop(job.id)
        self._ended = [(end, other) for end, other in self._ended if end >= began or self._running]
        self._ended.append((self._net.mark(), job))
        if self._net.lost:
            return None
        explaining = [job]
        if not has_started(job.seen):
            explaining += [other for _, _, other in self._running.values()]
            explaining += [other for end, other in self._ended if end >= began]
        paths = self._net.unexplained(began, [other.seen for other in explaining])
        return None if any(_changed_since(path, at) for path in paths) else paths

    def own(self, paths: Sequence[str]) -> AbstractContextManager[None]:
        """Tell that it is the driver itself that reads these files meanwhile."""
        return self._net.own(*paths) if self._started else nullcontext()


def _changed_since(path: str, at: int) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        # Gone: what was read of it is not known either.
        return True
    return max(status.st_mtime_ns, status.st_ctime_ns) >= at
