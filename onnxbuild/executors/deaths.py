"""How a process ended that could not say so itself."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from onnxbuild.core.ports import Status

CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})


FULL = 74
"""Exit code of a worker that could not write its outcome since the disk is full (EX_IOERR)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of a process, in words."""

    status: Status
    what: str
    hint: str = ""


def explain_death(status: int, *, memory: int, oom_kills: int) -> Death:
    """Explain a wait status. `memory` are the peak bytes, `oom_kills` those of the kernel while it ran."""
    if not os.WIFSIGNALED(status):
        code = os.waitstatus_to_exitcode(status)
        if code == FULL:
            return Death(
                status="failed",
                what="the disk of the store is full: the step's outcome could not be written",
                hint="free space, or set settings.store to a folder on another disk",
            )
        return Death(
            status="failed",
            what=f"the step's process ended with exit code {code} and gave no result",
            hint="something in it called os._exit or exec; its log may say more",
        )
    number = os.WTERMSIG(status)
    name = _name(number)
    if number == signal.SIGKILL and oom_kills > 0:
        return Death(
            status="out of memory",
            what=f"out of memory: the kernel killed the step at {memory / 1e9:.2f} GB",
            hint="run fewer steps at once with --jobs, or give the machine or container more memory",
        )
    if number in CRASHES:
        return Death(
            status="failed",
            what=f"native code crashed ({name})",
            hint="the end of its log shows which Python line called it",
        )
    return Death(
        status="failed",
        what=f"the step's process was killed by {name}",
        hint="someone or something outside onnxbuild sent the signal; run again",
    )


def name_exit(code: int) -> str:
    """Name an exit code as `subprocess` gives it: a negative one is a signal."""
    return f"killed by {_name(-code)}" if code < 0 else f"exit code {code}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def count_oom_kills() -> int:
    """Count what the kernel has killed for lack of memory so far: here, or on the whole machine."""
    total = 0
    for path, field in _counters():
        try:
            with open(path, encoding="ascii") as file:
                for line in file:
                    name, _, value = line.partition(" ")
                    if name == field:
                        total += int(value)
        except OSError:
            # Not this kernel, not this version of control groups, or not ours to read.
            continue
    return total


def _counters() -> list[tuple[str, str]]:
    counters = [("/proc/vmstat", "oom_kill")]
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return counters
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            counters.append((f"/sys/fs/cgroup{path}/memory.events", "oom_kill"))
        elif "memory" in controllers.split(","):
            counters.append((f"/sys/fs/cgroup/memory{path}/memory.oom_control", "oom_kill"))
    return counters
