"""Runs a function in a process of its own: one that crashes, hangs or raises is an answer."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

LONGEST = 160


class ApartError(Exception):
    """What became of a function that did not return."""


def apart(function: Callable[..., Any], *values: Any, seconds: float = 240) -> Any:
    """Call `function` in a forked process, and give what it returns. Raises `ApartError` in few words."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, values), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            raise ApartError(f"not done after {seconds:.0f} s")
        answer = ours.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        raise ApartError(f"crashed with signal {-code}" if code < 0 else "ended") from None
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        ours.close()
    if "error" in answer:
        raise ApartError(answer["error"])
    return answer["value"]


def _answer(pipe: Connection, function: Callable[..., Any], values: tuple[Any, ...]) -> None:
    # What libraries say in passing is not for the table.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    if not os.environ.get("ZOO_DEBUG"):
        os.dup2(quiet, 2)
    try:
        import torch

        torch.set_num_threads(1)
        pipe.send({"value": function(*values)})
    except BaseException as error:  # noqa: BLE001  it is told
        if os.environ.get("ZOO_DEBUG"):
            traceback.print_exc(file=sys.stderr)
        pipe.send({"error": first_words(error)})


def first_words(error: BaseException) -> str:
    """Give the kind of an error and the first line of its deepest cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0]}"[:LONGEST]
