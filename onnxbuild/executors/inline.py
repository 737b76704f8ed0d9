"""Steps run in the process of the build, one after the other: for debuggers, and where no fork is wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from threading import Lock, Thread

from onnxbuild.core.ports import Deliver, Job
from onnxbuild.errors import StoreError
from onnxbuild.executors.child import (
    conclude,
    fork_worker,
    make_folder,
    read_outcome,
    remove_folder,
)
from onnxbuild.executors.deaths import Death, count_oom_kills, explain_death
from onnxbuild.executors.family import kill_family, kill_group
from onnxbuild.executors.messages import (
    WORKER,
    Json,
    job_to_json,
    outcome_from_json,
    refused,
)
from onnxbuild.observe.loader import drop_project_modules, project_modules


class InlineExecutor:
    """Runs each job inside `submit`, and delivers its outcome before `submit` returns.

    A job that may crash (``isolate``) or that has a timeout runs in a forked child, since only a process
    can be stopped. Ctrl-C delivers the outcome ``cancelled`` and goes on to the caller.
    """

    def __init__(self, deliver: Deliver, jobs: int = 1, *, folder: str = "") -> None:
        """Take what gets the outcomes. The number of jobs is always one; no `folder` is needed."""
        del folder
        self._deliver = deliver
        self._jobs = jobs
        self._lock = Lock()
        self._running: dict[str, int] = {}
        self._cancelled: set[str] = set()

    def prepare(self, modules: Sequence[str] = (), *, soon: bool = False) -> None:
        """Do nothing: run modules are imported by the first job that needs them, if one does."""

    def submit(self, job: Job) -> None:
        """Run a job and deliver its outcome."""
        if job.isolate or job.timeout is not None:
            self._deliver(job.id, outcome_from_json(self._run_forked(job_to_json(job))))
            return
        with _without_project_modules((job.root, *job.roots.values())):
            outcome = outcome_from_json(import_module(WORKER).run(job_to_json(job)))
        self._deliver(job.id, outcome)
        if outcome.status == "cancelled":
            raise KeyboardInterrupt

    def cancel(self, job_id: str) -> None:
        """Stop a job that runs in a forked child. Any other can only be interrupted."""
        with self._lock:
            self._cancelled.add(job_id)
            if job_id in self._running:
                kill_family(self._running[job_id])

    def close(self) -> None:
        """Stop a job that another thread still runs in a forked child."""
        for job_id in list(self._running):
            self.cancel(job_id)

    def _run_forked(self, job: Json) -> Json:
        try:
            folder = make_folder(job["store"])
        except StoreError as error:
            return refused(error)
        oom_kills = count_oom_kills()
        try:
            pid = fork_worker(job, folder, _let_go)
            with self._lock:
                self._running[job["id"]] = pid
                if job["id"] in self._cancelled:
                    kill_family(pid)
            status, memory, in_time = self._wait(pid, job["timeout"])
            with self._lock:
                del self._running[job["id"]]
                cancelled = job["id"] in self._cancelled
            kill_group(pid)
            outcome = read_outcome(folder)
            if cancelled:
                return conclude(
                    job, folder, Death(status="cancelled", what="the step was cancelled"), memory
                )
            if outcome is not None:
                return outcome
            death = explain_death(status, memory=memory, oom_kills=count_oom_kills() - oom_kills)
            if not in_time:
                death = Death(
                    status="timeout",
                    what=f"took longer than {job['timeout']:g} s and was stopped",
                    hint="raise settings.timeout",
                )
            return conclude(job, folder, death, memory)
        finally:
            remove_folder(folder)

    def _wait(self, pid: int, timeout: float | None) -> tuple[int, int, bool]:
        """Wait for a child, killing it when its time is over; give its status and peak memory."""
        ended: list[tuple[int, int]] = []

        def wait() -> None:
            _, status, usage = os.wait4(pid, 0)
            ended.append((status, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)))

        waiter = Thread(target=wait)
        waiter.start()
        waiter.join(timeout)
        in_time = not waiter.is_alive()
        if not in_time:
            kill_family(pid)
        try:
            waiter.join()
        except KeyboardInterrupt:
            kill_family(pid)
            waiter.join()
            raise
        return *ended[0], in_time


@contextmanager
def _without_project_modules(folders: tuple[str, ...]) -> Iterator[None]:
    """Have a step import project code anew; what the caller had imported is there again afterwards."""
    saved = {name: sys.modules[name] for name in project_modules(folders)}
    drop_project_modules(folders)
    try:
        yield
    finally:
        drop_project_modules(folders)
        sys.modules.update(saved)
        for name, module in saved.items():
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], child, module)


def _let_go() -> None:
    """Close what the build has open: above all its locks, which a child would keep beyond its end."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
