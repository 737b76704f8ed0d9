"""Steps run in processes forked from a server that has imported the heavy libraries once."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from threading import Lock, Thread
from typing import IO

from onnxbuild.core.ports import Deliver, Job, Outcome
from onnxbuild.errors import ExecutorError
from onnxbuild.executors.child import remove_folder
from onnxbuild.executors.deaths import name_exit
from onnxbuild.executors.environment import FIXED, make_environment, own_path
from onnxbuild.executors.family import kill_group, kill_marked
from onnxbuild.executors.messages import Json, ended, job_to_json, outcome_from_json

PATIENCE = 10.0
"""Seconds that a server is given to end its workers and itself before it is killed."""


class ProcessExecutor:
    """Runs up to `jobs` jobs at once, each in a process of its own; more wait in line.

    The server is started by the first job, or earlier by `prepare`. Outcomes are delivered from a thread.
    """

    def __init__(
        self,
        deliver: Deliver,
        jobs: int,
        *,
        preload: Sequence[str] = ("onnxbuild",),
        expected: Sequence[str] = ("torch",),
        path: Sequence[str] = (),
        hash_seed: str = FIXED["PYTHONHASHSEED"],
        folder: str = "",
    ) -> None:
        """Take what gets the outcomes and the number of jobs that may run at once.

        Temporary files go below `folder`, or where the system has them. The server imports run modules of the packages `preload` itself; others are imported, and so
        observed, by each job. It imports the libraries `expected` before the first job that runs code of the
        user (that has a folder). Folders in `path` go on its `sys.path`. By `hash_seed` texts are
        hashed, and so sets ordered.
        """
        self._deliver = deliver
        self._jobs = jobs
        self._options = (",".join(preload), ",".join(expected))
        self._path = tuple(path)
        self._hash_seed = hash_seed
        self._folder = folder
        self._lock = Lock()
        self._server: _Server | None = None

    def prepare(self, modules: Sequence[str] = (), *, soon: bool = False) -> None:
        """Have the server import the run `modules`, in this order: at once if `soon`, else when it has been idle.

        Called early, even with nothing to name, this hides the time that the server takes to start.
        """
        with self._lock:
            server = self._live()
        if modules:
            server.send({"prepare": list(modules), "soon": soon})

    def submit(self, job: Job) -> None:
        """Start a job, or queue it. Raises `ExecutorError` when no server can be started."""
        with self._lock:
            server = self._live()
        if server.expect(job.id):
            server.send({"submit": job_to_json(job)})
        else:
            self._deliver(job.id, server.farewell)

    def cancel(self, job_id: str) -> None:
        """Stop a job with all its children; its outcome is ``cancelled``."""
        with self._lock:
            server = self._server
        if server is not None:
            server.send({"cancel": job_id})

    def close(self) -> None:
        """Stop everything that still runs, with outcome ``cancelled``, and wait until it is gone."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def _live(self) -> _Server:
        if self._server is None or self._server.gone:
            folder = tempfile.mkdtemp(prefix="onnxbuild-", dir=self._folder or None)
            self._server = _Server(
                self._deliver, self._jobs, self._options, self._path, self._hash_seed, folder
            )
        return self._server


class _Server:
    """One server process, the connection to it, and the jobs that it has."""

    def __init__(
        self,
        deliver: Deliver,
        jobs: int,
        options: Sequence[str],
        path: Sequence[str],
        hash_seed: str,
        folder: str,
    ) -> None:
        self.gone = False
        self.farewell = Outcome(status="lost")
        """What becomes of the jobs that it still has when it is gone."""
        self._deliver = deliver
        self._expected: dict[str, tuple[int, str] | None] = {}
        """By job, once it has started, its worker's process id and private folder."""
        self._state = Lock()
        self._sending = Lock()
        self._folder = folder
        self._said = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as the server
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "onnxbuild.executors.server"]
        try:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(jobs), *options],
                pass_fds=[theirs.fileno()],
                env={
                    **make_environment(self._folder),
                    "PYTHONHASHSEED": hash_seed,
                    "PYTHONPATH": os.pathsep.join([*path, *own_path()]),
                },
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                # Ctrl-C on a terminal is the driver's to hear; it stops us in order.
                start_new_session=True,
            )
        except OSError as error:
            raise ExecutorError(
                f"the server of the workers cannot be started: {error.strerror}",
                where=sys.executable,
                hint="try settings.executor=inline",
            ) from error
        finally:
            theirs.close()
        self._reader = Thread(target=self._read, name="onnxbuild-outcomes", daemon=True)
        self._reader.start()

    def expect(self, job_id: str) -> bool:
        """Note that the outcome of a job is owed; False when the server has gone meanwhile."""
        with self._state:
            if not self.gone:
                self._expected[job_id] = None
            return not self.gone

    def send(self, message: Json) -> None:
        """Send a message. A server that is gone is the reader's business."""
        with self._sending, contextlib.suppress(OSError):
            self._control.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """End the server and all that it runs."""
        self.send({"close": True})
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reader.join()

    def _read(self) -> None:
        with self._control.makefile("rb") as lines:
            try:
                for line in lines:
                    self._take(json.loads(line))
            except OSError:
                # The connection broke instead of closing: the same to us.
                pass
        self._bury(lines)

    def _take(self, message: Json) -> None:
        if "started" in message:
            with self._state:
                self._expected[message["started"]] = (message["pid"], message["folder"])
            return
        name = message["ended"]
        with self._state:
            self._expected.pop(name)
        self._deliver(name, outcome_from_json(message["outcome"]))

    def _bury(self, lines: IO[bytes]) -> None:
        """Clear up after a server that is gone, and deliver what it still owes as ``lost``."""
        lines.close()
        self.process.wait()
        what = f"the server of the workers has gone ({name_exit(self.process.returncode)})"
        words = self._last_words()
        self._said.close()
        self.farewell = outcome_from_json(ended("lost", what, hint=words, kind="ExecutorError"))
        with self._state:
            self.gone = True
            owed = dict(self._expected)
            self._expected.clear()
        for place in owed.values():
            if place is not None:
                kill_group(place[0])
                kill_marked(place[1])
                remove_folder(place[1])
        remove_folder(self._folder)
        for name in owed:
            self._deliver(name, self.farewell)
        self._control.close()

    def _last_words(self) -> str:
        self._said.seek(0)
        text = self._said.read().decode(errors="replace").strip()
        return f"its last words: {text[-1000:]}" if text else ""
