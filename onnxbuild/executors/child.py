"""A worker process: forked, runs one job, leaves its outcome in the job's private folder.

::

    <private>/work/           home and temporary files of the step
    <private>/log             what it printed
    <private>/outcome.json    how it ended; missing when the process did not get there
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import json
import os
import shutil
import signal
import stat
import tempfile
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from onnxbuild.core import files, points
from onnxbuild.errors import StoreError
from onnxbuild.executors.deaths import FULL, Death
from onnxbuild.executors.family import adopt_orphans, die_with_parent
from onnxbuild.executors.messages import WORKER, Json, ended
from onnxbuild.stores.local import LocalStore

OUTCOME = "outcome.json"
LOG = "log"

BROKEN = 70
"""Exit code of a worker that could not write its outcome (EX_SOFTWARE)."""


def make_folder(store: str) -> str:
    """Make a job's private folder inside the store. Raises `StoreError`."""
    parent = os.path.join(store, "tmp")
    try:
        points.at("create", parent)
        os.makedirs(parent, exist_ok=True)
        return tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent)
    except OSError as error:
        raise files.explain(error, store) from error


def remove_folder(folder: str) -> None:
    """Remove a private folder, whatever modes the step has given to what is in it."""

    def allow(remove: Callable[[str], Any], path: str, _: Any) -> None:
        for locked in (os.path.dirname(path), path):
            with contextlib.suppress(OSError):
                os.chmod(locked, stat.S_IRWXU)
        with contextlib.suppress(FileNotFoundError):
            if remove in {os.unlink, os.rmdir}:
                remove(path)
            else:
                shutil.rmtree(path)

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder, onerror=allow)


def fork_worker(job: Json, folder: str, inherited: Callable[[], None]) -> int:
    """Fork a worker for a job and give its process id, which is also that of its process group.

    `inherited` is called in the child first: it closes what must not be inherited.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _live(job, folder, parent, inherited)
    # Both sides do it, since either may be first.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)
    return pid


def _live(job: Json, folder: str, parent: int, inherited: Callable[[], None]) -> NoReturn:
    code = BROKEN
    try:
        os.setpgid(0, 0)
        inherited()
        _reset_signals()
        die_with_parent()
        if os.getppid() != parent:
            os._exit(BROKEN)
        adopt_orphans()
        gc.enable()
        # Through the descriptor, which will be the log by the time that something crashes.
        faulthandler.enable(2)
        outcome = import_module(WORKER).run(job, folder)
        write_outcome(outcome, folder)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the process ends here, and says why on its way
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            # Told by the code: a traceback would be ours, and help nobody.
            code = FULL
        else:
            traceback.print_exc()
    finally:
        os._exit(code)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGIO, signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def write_outcome(outcome: Json, folder: str) -> None:
    """Write a job's outcome, whole or not at all."""
    path = os.path.join(folder, OUTCOME)
    points.at("write", path)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(outcome, file)
    os.rename(path + ".tmp", path)


def read_outcome(folder: str) -> Json | None:
    """Read a job's outcome; None when its process did not get as far."""
    try:
        with open(os.path.join(folder, OUTCOME), encoding="utf-8") as file:
            outcome: Json = json.load(file)
    except FileNotFoundError:
        return None
    return outcome


def conclude(job: Json, folder: str, death: Death, memory: int) -> Json:
    """Make the outcome of a job whose process gave none, with as much of a log as there is."""
    log = ""
    hint = death.hint
    try:
        path = os.path.join(folder, LOG)
        if os.path.exists(path) and os.path.getsize(path):
            log = LocalStore(job["store"]).put_file(path)
    except StoreError as error:
        hint = f"{hint}; its log could not be kept: {error}"
    return ended(death.status, death.what, hint=hint, log=log, memory=memory)
