"""The driver's side of the net: which files were opened while a job ran, and are told of by none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from onnxbuild.core.ports import Job
from onnxbuild.observe.net import Net


class NetWitness:
    """A net under the observation of steps, spread when the first of them begins."""

    def __init__(self, root: str, ignored: Sequence[str]) -> None:
        # Our own code is part of every key; the server opens it for all jobs.
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self._net = Net(root, (*ignored, package))
        self._started = False
        self._running: dict[str, tuple[int, Job]] = {}
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
        self._running[job.id] = (self._net.mark(), job)

    def finished(self, job: Job) -> Iterable[str] | None:
        """Give the paths opened since the job began that no job which ran meanwhile tells of."""
        began, _ = self._running.pop(job.id)
        self._ended = [(end, other) for end, other in self._ended if end >= began or self._running]
        self._ended.append((self._net.mark(), job))
        if self._net.lost:
            return None
        others = [other for _, other in self._running.values()]
        others += [other for end, other in self._ended if end >= began]
        return self._net.unexplained(began, [other.seen for other in others])

    def own(self, paths: Sequence[str]) -> AbstractContextManager[None]:
        """Tell that it is the driver itself that reads these files meanwhile."""
        return self._net.own(*paths) if self._started else nullcontext()
