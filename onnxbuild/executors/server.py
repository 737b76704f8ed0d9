"""The fork server: imports run modules once, forks a worker for each job, sees to it that all of them end.

``python -P -m onnxbuild.executors.server DESCRIPTOR JOBS PRELOAD EXPECTED`` (the last two are names with
commas between them) speaks lines of JSON over the socket with that descriptor. It hears ``{"submit": job}``, ``{"cancel": id}``,
``{"prepare": [module…], "soon": bool}`` and ``{"close": true}``; it says ``{"started": id, "pid": …, "folder": …}`` and ``{"ended": id, "outcome": …}``.

One thread, so that forks are safe. What takes long is importing a run module and its `warm`; while that
goes on, signals (a child ended, the socket has news, a deadline passed) call `Server.attend`, which does
everything but fork. When the driver is gone, everything is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from onnxbuild.errors import StoreError
from onnxbuild.executors import messages
from onnxbuild.executors.child import (
    conclude,
    fork_worker,
    make_folder,
    read_outcome,
    remove_folder,
)
from onnxbuild.executors.deaths import Death, count_oom_kills, explain_death
from onnxbuild.executors.environment import FIXED, own_path
from onnxbuild.executors.family import adopt_orphans, kill_group, kill_orphans
from onnxbuild.executors.loading import load
from onnxbuild.executors.messages import WORKER, Json, ended, refused
from onnxbuild.observe import hooks

GRACE = 0.5
"""Seconds without news before a module is prepared for jobs that may come at some time: a job that the next
outcome makes possible should not wait behind an import of seconds."""

ATTENTION = (signal.SIGCHLD, signal.SIGIO, signal.SIGALRM, signal.SIGTERM)
"""A child ended, the socket has news (or the driver has gone), a deadline passed, asked to stop."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A job with a worker."""

    job: Json
    folder: str
    deadline: float | None
    oom_kills: int
    verdict: Death | None = None
    """Why we killed it, if we did."""


class Server:
    """The state of one server: what waits, what runs, which modules are imported."""

    def __init__(
        self, control: socket.socket, jobs: int, preload: Sequence[str], expected: Sequence[str]
    ) -> None:
        self._control = control
        self._jobs = jobs
        self._preload = tuple(preload)
        self._expected = tuple(expected)
        self._heard = b""
        self._queue: deque[Json] = deque()
        self._running: dict[int, Running] = {}
        self._soon: deque[str] = deque()
        self._later: deque[str] = deque()
        """Modules that jobs may need: those that follow on what runs now, and others."""
        self._imported: dict[str, Json | None] = {}
        """By run module, None or the outcome of every job that needs it."""
        self._preparing = False
        self._attending = False
        self._again = False
        self._stopping = False
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        self._poll.register(self._wake, select.POLLIN)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._descriptors = (self._wake, wake)

    def serve(self) -> NoReturn:
        """Run jobs until the driver closes the connection or goes away."""
        for number in ATTENTION:
            signal.signal(number, self._on_signal)
            signal.siginterrupt(number, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        descriptor = self._control.fileno()
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
        while True:
            self.attend()
            if self._start_next():
                continue
            module = self._needed_module() or self._first_of(self._soon)
            if module is not None:
                self._prepare(module)
                continue
            module = self._first_of(self._later)
            if module is None:
                self._wait(self._until_deadline())
            elif not self._wait(min(GRACE, self._until_deadline() or GRACE)):
                self._prepare(module)

    def attend(self) -> None:
        """Hear the driver, reap workers, enforce deadlines. Safe to be called while it runs already."""
        if self._attending:
            self._again = True
            return
        self._attending = True
        try:
            while True:
                self._again = False
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._hear()
                if self._stopping:
                    self._stop()
                self._enforce_deadlines()
                self._reap()
                if not self._again:
                    return
        finally:
            self._attending = False

    def _on_signal(self, number: int, _: Any) -> None:
        if number == signal.SIGTERM:
            self._stopping = True
        if not self._preparing:
            # The descriptor that signals write to wakes the loop.
            return
        try:
            self.attend()
            self._arm()
        except BaseException:  # noqa: BLE001 - it must not surface inside a library's import
            traceback.print_exc()
            os._exit(1)

    def _wait(self, seconds: float | None) -> bool:
        """Wait for news; True if there are any."""
        milliseconds = None if seconds is None else max(0, int(seconds * 1000) + 1)
        return bool(self._poll.poll(milliseconds))

    def _hear(self) -> None:
        while True:
            try:
                chunk = self._control.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if not chunk:
                self._stopping = True
                return
            *lines, self._heard = (self._heard + chunk).split(b"\n")
            for line in lines:
                self._obey(json.loads(line))

    def _obey(self, message: Json) -> None:
        match message:
            case {"submit": job}:
                self._queue.append(job)
            case {"cancel": name}:
                self._cancel(name)
            case {"prepare": modules, "soon": soon}:
                (self._soon if soon else self._later).extend(filter(self._is_ours, modules))
            case _:
                self._stopping = True

    def _cancel(self, name: str) -> None:
        for job in self._queue:
            if job["id"] == name:
                self._queue.remove(job)
                self._say_ended(job, ended("cancelled", "the step was cancelled before it began"))
                return
        for pid, running in self._running.items():
            if running.job["id"] == name:
                running.verdict = Death(status="cancelled", what="the step was cancelled")
                kill_group(pid)

    def _is_ours(self, module: str) -> bool:
        """Tell whether a module is imported here: ours only, since a project's code must be observed."""
        return any(module == name or module.startswith(f"{name}.") for name in self._preload)

    def _missing(self, job: Json) -> str | None:
        """Name a module that is to be imported here before the job starts, if there is one."""
        module = _module(job)
        # The code of users imports torch, which takes a hundred times as long as to fork with it.
        needed = [*(self._expected if job["folder"] is not None else ())]
        if self._is_ours(module):
            needed.append(module)
        return next((name for name in needed if name not in self._imported), None)

    def _start_next(self) -> bool:
        """Start the first job that can start at once; False if there is none, or no room."""
        if len(self._running) >= self._jobs:
            return False
        for job in self._queue:
            if self._missing(job) is not None:
                continue
            self._queue.remove(job)
            broken = self._imported.get(_module(job))
            if broken is not None:
                self._say_ended(job, broken)
            else:
                self._start(job)
            return True
        return False

    def _start(self, job: Json) -> None:
        oom_kills = count_oom_kills()
        try:
            folder = make_folder(job["store"])
        except StoreError as error:
            self._say_ended(job, refused(error))
            return
        deadline = None if job["timeout"] is None else time.monotonic() + job["timeout"]
        try:
            pid = fork_worker(job, folder, self._let_go)
        except OSError as error:
            remove_folder(folder)
            outcome = ended(
                "failed", f"no worker can be forked: {error.strerror}", kind="ExecutorError"
            )
            self._say_ended(job, outcome)
            return
        self._running[pid] = Running(job=job, folder=folder, deadline=deadline, oom_kills=oom_kills)
        self._say({"started": job["id"], "pid": pid, "folder": folder})

    def _let_go(self) -> None:
        """Close, in a forked worker, what belongs to the server."""
        signal.set_wakeup_fd(-1)
        self._control.close()
        for descriptor in self._descriptors:
            os.close(descriptor)

    def _needed_module(self) -> str | None:
        missing = (self._missing(job) for job in self._queue)
        return next((module for module in missing if module is not None), None)

    def _first_of(self, wanted: deque[str]) -> str | None:
        while wanted:
            if wanted[0] not in self._imported:
                return wanted[0]
            wanted.popleft()
        return None

    def _prepare(self, module: str) -> None:
        """Import a run module and warm it up, staying attentive."""
        self._preparing = True
        self.attend()
        self._arm()
        try:
            self._imported[module] = load(module)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._preparing = False
        # What is there now is not looked at by the collectors of workers, so that they share its pages.
        gc.freeze()

    def _until_deadline(self) -> float | None:
        deadlines = [item.deadline for item in self._running.values() if item.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _arm(self) -> None:
        delay = self._until_deadline()
        if delay is not None:
            signal.setitimer(signal.ITIMER_REAL, max(delay, 0.001))

    def _enforce_deadlines(self) -> None:
        for pid, running in self._running.items():
            if running.deadline is not None and running.deadline <= time.monotonic():
                running.deadline = None
                running.verdict = running.verdict or Death(
                    status="timeout",
                    what=f"took longer than {running.job['timeout']:g} s and was stopped",
                    hint="raise settings.timeout",
                )
                kill_group(pid)

    def _reap(self) -> None:
        for pid in list(self._running):
            ended_pid, status, usage = os.wait4(pid, os.WNOHANG)
            if ended_pid == 0:
                continue
            running = self._running.pop(pid)
            kill_group(pid)
            kill_orphans(set(self._running))
            memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            self._say_ended(running.job, _outcome(running, status, memory), running.folder)

    def _say_ended(self, job: Json, outcome: Json, folder: str | None = None) -> None:
        if folder is not None:
            remove_folder(folder)
        self._say({"ended": job["id"], "outcome": outcome})

    def _say(self, message: Json) -> None:
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            # Nobody listens any more.
            self._stopping = True

    def _stop(self) -> NoReturn:
        """Kill everything and go."""
        for job in self._queue:
            self._say_ended(job, ended("cancelled", "the build was stopped before the step began"))
        for pid, running in self._running.items():
            running.verdict = running.verdict or Death(
                status="cancelled", what="the build was stopped"
            )
            kill_group(pid)
        for pid in list(self._running):
            running = self._running.pop(pid)
            _, status, _ = os.wait4(pid, 0)
            kill_group(pid)
            kill_orphans(set(self._running))
            self._say_ended(running.job, _outcome(running, status, 0), running.folder)
        remove_folder(os.environ["TMPDIR"])
        os._exit(0)


def _outcome(running: Running, status: int, memory: int) -> Json:
    """Take the outcome that a worker left, or make the one of its death."""
    left = read_outcome(running.folder)
    if left is not None and (running.verdict is None or running.verdict.status != "cancelled"):
        return left
    death = running.verdict or explain_death(
        status, memory=memory, oom_kills=count_oom_kills() - running.oom_kills
    )
    return conclude(running.job, running.folder, death, memory)


def _module(job: Json) -> str:
    name: str = job["run"]
    return name.partition(":")[0]


def main() -> NoReturn:
    """Serve the driver at the other end of the descriptor that the first argument names."""
    # Importing makes much that stays and no garbage; measured, the collector took a third of its time.
    # Workers have it again.
    gc.disable()
    control = socket.socket(fileno=int(sys.argv[1]))
    adopt_orphans()
    os.set_inheritable(control.fileno(), False)
    # Taken in now: loading it between a fork and its exec, or in a signal handler, is too late.
    ctypes.CDLL(None)
    hooks.warm()
    messages.warm()
    import_module(WORKER)
    for folder in own_path():
        # It was there to find us; what else lies in it is no business of a step.
        sys.path.remove(folder)
    # What workers start in turn has sets in the same order as they.
    FIXED["PYTHONHASHSEED"] = os.environ["PYTHONHASHSEED"]
    preload, expected = (names.split(",") if names else [] for names in sys.argv[3:])
    Server(control, int(sys.argv[2]), preload, expected).serve()


if __name__ == "__main__":
    main()
