"""Processes and their descendants: tying them to their parent, finding them, ending them.

On Linux every process of a step is found, also one that has left its process group; elsewhere only
the group is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

LINUX = sys.platform == "linux"

LOOKS = 3
"""How often processes are looked through for those that are ours."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send a signal when the parent is gone. It follows the thread that forked."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends. Children do not inherit this."""
    if LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_group(leader: int) -> None:
    """Kill a process group, whether its leader still lives or not."""
    # macOS answers with a permission error when only zombies are left in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_orphans(known: set[int]) -> None:
    """Kill and reap the children of this process that were born to others, until none comes after.

    `known` are children of its own. Others that are in its own process group are spared as well: those
    are what a library that is being imported has started.
    """
    if not LINUX:
        return
    while orphans := find_children(os.getpid()) - known:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def kill_family(leader: int) -> None:
    """Kill a process that adopts orphans, its group, and all its descendants in whatever group."""
    family = find_family(leader)
    kill_group(leader)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_marked(folder: str) -> None:
    """Kill every process that was started with `folder` in its environment, as a job's descendants are.

    For when their parents are gone already, and with them the ties that lead to them.
    """
    if not LINUX:
        return
    mark = os.fsencode(folder)
    for _ in range(LOOKS):
        environments = {pid: _environment(pid) for pid, _, _ in _processes() if pid != os.getpid()}
        for pid, environment in environments.items():
            if mark in environment:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        # What executes another program at this moment has, for a moment, no environment.
        time.sleep(0.01)


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        # Gone meanwhile, or another user's.
        return b""


def find_family(leader: int) -> set[int]:
    """List a process and all its descendants, in whatever group; elsewhere than on Linux itself alone."""
    family = {leader}
    parents = {pid: parent for pid, parent, _ in _processes()} if LINUX else {}
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    return family


def find_children(parent: int) -> set[int]:
    """List the children of `parent` that are in another process group than it is."""
    if parent == os.getpid() and not _has_children():
        return set()
    group = os.getpgid(parent)
    return {pid for pid, above, its in _processes() if above == parent and its != group}


def _has_children() -> bool:
    """Tell whether this process has any children: far cheaper than to look who they are."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _processes() -> Iterator[tuple[int, int, int]]:
    """Give every process with its parent and its process group."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                text = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The second field is the program's name in brackets, which may hold anything.
        fields = text.rpartition(b")")[2].split()
        yield int(name), int(fields[1]), int(fields[2])
