"""A clean place for a step: environment, folder, streams and seeds, all put back afterwards."""

from __future__ import annotations

import ctypes
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from onnxbuild.core.ports import Job
from onnxbuild.errors import StepError
from onnxbuild.executors.environment import make_environment
from onnxbuild.worker.seeds import seeded

UMASK = 0o022


@contextmanager
def clean_place(job: Job, folder: str, log: str) -> Iterator[None]:
    """Be, for a while, where and what a step may expect: nothing of the caller's state shows through.

    `folder` is private and takes temporary files, `log` the path to which all output is appended,
    native code's too.
    """
    with ExitStack() as stack:
        stack.enter_context(_redirected(log))
        stack.enter_context(_environment(make_environment(folder, job.threads, job.environment)))
        stack.enter_context(_interpreter(job, folder))
        stack.enter_context(seeded(job.threads))
        yield


@contextmanager
def _redirected(log: str) -> Iterator[None]:
    saved = [os.dup(number) for number in range(3)]
    streams = (sys.stdin, sys.stdout, sys.stderr)
    _flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(nothing)
    os.close(target)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the place
    sys.stdout, sys.stderr = _writer(1), _writer(2)
    try:
        yield
    finally:
        _flush()
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, copy in enumerate(saved):
            os.dup2(copy, number)
            os.close(copy)


def _writer(number: int) -> io.TextIOWrapper:
    # A line at a time, so that lines of Python and of native code keep their order.
    return open(
        number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    # What native code printed may still lie in the C library's buffers.
    ctypes.CDLL(None).fflush(None)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    saved = dict(os.environ)
    _replace_environment(variables)
    try:
        yield
    finally:
        _replace_environment(saved)


def _replace_environment(variables: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in variables]:
        del os.environ[name]
    os.environ.update(variables)
    time.tzset()


@contextmanager
def _interpreter(job: Job, folder: str) -> Iterator[None]:
    saved = (os.getcwd(), sys.argv, list(sys.path), tempfile.tempdir, os.umask(UMASK))
    target = folder if job.folder is None else os.path.join(job.root, job.folder)
    try:
        os.chdir(target)
    except OSError as error:
        os.umask(saved[-1])
        raise StepError(
            f"the recipe's folder cannot be entered: {error.strerror}", where=target
        ) from error
    sys.argv = ["onnxbuild"]
    tempfile.tempdir = None
    try:
        yield
    finally:
        cwd, sys.argv, sys.path[:], tempfile.tempdir, umask = saved
        os.umask(umask)
        os.chdir(cwd)
