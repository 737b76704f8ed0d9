"""What a user's code raises, as an error that shows the user's own lines."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from onnxbuild.errors import ModelError, OnnxbuildError, StepError

OWN = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder of onnxbuild itself, whose frames say nothing to the user."""

LIBRARIES = tuple(
    {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
)
"""Folders of code that is not the user's."""

MESSAGE_LINES = 6
"""Lines of an exception's message that are shown: some print a whole graph."""

LINE_LENGTH = 400
"""Characters of a line of such a message that are shown."""

LOG_LINES = 200
"""Lines of a traceback that the log gets."""

FRAMES = 5
"""Frames of the user's code that are shown, the innermost."""


def say(text: str) -> None:
    """Write a line to the step's log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def user_code(doing: str, *, kind: type[StepError] = ModelError, hint: str = "") -> Iterator[None]:
    """Turn what the user's code raises into a `kind` that begins with `doing` and ends with their frames."""
    try:
        yield
    except OnnxbuildError:
        raise
    except Exception as error:
        frames = user_frames(error)
        lines = [f"{doing}: {describe(error)}", *(f"  {frame}" for frame in frames)]
        if isinstance(error, ModuleNotFoundError) and not hint:
            hint = f"install {error.name}, or check the name"
        if isinstance(error, KeyError) and not hint and _asks_environment(error):
            hint = f"no environment variable reaches a step by itself: pass_env: [{error.args[0]}] passes it on"
        where = frames[-1].partition(" in ")[0] if frames else ""
        log_traceback(error)
        raise kind("\n".join(lines), where=where, hint=hint) from error


def _asks_environment(error: KeyError) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename in {"<frozen os>", os.__file__}


def log_traceback(error: BaseException) -> None:
    """Write an exception with all its frames to the log; messages that print a graph are cut."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    if len(lines) > LOG_LINES:
        middle = f"… {len(lines) - LOG_LINES} lines left out …"
        lines = [*lines[: LOG_LINES // 2], middle, *lines[-LOG_LINES // 2 :]]
    say("\n".join(lines))


def describe(error: BaseException) -> str:
    """Give an exception's type and the first lines of its message, without a printed graph."""
    lines: list[str] = []
    for line in str(error).strip().splitlines():
        if line.lstrip().startswith(("graph(", "Graph:", "Module(")) or len(lines) == MESSAGE_LINES:
            lines.append("…")
            break
        if line.strip():
            lines.append(line.rstrip() if len(line) <= LINE_LENGTH else line[:LINE_LENGTH] + " …")
    name = type(error).__name__
    return f"{name}: " + "\n  ".join(lines) if lines else name


def user_frames(error: BaseException) -> list[str]:
    """Give the frames of an exception that lie in the user's code, as ``file:line in function: code``."""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = frame.filename
        if path.startswith(("<", OWN + os.sep, *LIBRARIES)):
            continue
        short = path.removeprefix(os.getcwd() + os.sep)
        frames.append(f"{short}:{frame.lineno} in {frame.name}: {frame.line}")
    return frames[-FRAMES:]
