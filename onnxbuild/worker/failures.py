"""What went wrong in a step, in the user's words: their own frames, not ours and not a library's."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache

from onnxbuild.core.ports import Failure, Job, Status
from onnxbuild.errors import OnnxbuildError

LONGEST = 4000
"""Characters of a message that are shown. TorchScript's errors print the whole graph."""

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "transformers": "'onnxbuild[huggingface]'",
}
"""What to install for a module whose distribution has another name."""

NO_MEMORY = ("std::bad_alloc", "can't allocate memory", "failed to allocate memory")
"""What native libraries say when memory runs out; they raise no `MemoryError`."""


def explain(error: BaseException, job: Job) -> tuple[Status, Failure]:
    """Say how a step ended that raised `error`, and why."""
    frames = list(_user_frames(error))
    told = _format(frames, job)
    where = f"{_relative(frames[-1].filename, job)}:{frames[-1].lineno}" if frames else ""
    kind = type(error).__name__
    match error:
        case OnnxbuildError():
            return "failed", Failure(
                what=_cut(error.what if error.what == str(error.args[0]) else str(error)),
                where=error.where or where,
                hint=error.hint,
                kind=kind,
                traceback=told,
            )
        case KeyboardInterrupt():
            return "cancelled", Failure(what="the step was interrupted", kind=kind)
        case SystemExit():
            what = f"the code of the step called sys.exit({error.code!r})"
            hint = "raise an exception that says what is wrong instead"
            return "failed", Failure(what=what, where=where, hint=hint, kind=kind, traceback=told)
        case SyntaxError(filename=str(path), lineno=int(line)) if not frames:
            told = "".join(traceback.format_exception_only(error))
            what = f"{kind}: {error.msg}"
            return "failed", Failure(
                what=what, where=f"{_relative(path, job)}:{line}", kind=kind, traceback=told
            )
        case _:
            pass
    what = _cut(f"{kind}: {error}" if str(error) else kind)
    if _is_memory(error):
        hint = "free memory, or run fewer steps at once with --jobs"
        failure = Failure(
            what=f"out of memory: {what}", where=where, hint=hint, kind=kind, traceback=told
        )
        return "out of memory", failure
    return "failed", Failure(what=what, where=where, hint=_hint(error), kind=kind, traceback=told)


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    text = str(error)[:LONGEST]
    return isinstance(error, RuntimeError) and any(sign in text for sign in NO_MEMORY)


def _hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        name = DISTRIBUTIONS.get(module, module)
        return f"if it is a package: {sys.executable} -m pip install {name}"
    return ""


def _user_frames(error: BaseException) -> Iterator[traceback.FrameSummary]:
    """Give the frames of the user's code: of the error itself, else of what it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = [
            frame
            for frame in traceback.extract_tb(current.__traceback__)
            if _is_users(frame.filename)
        ]
        if frames:
            yield from frames
            return
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )


def _is_users(path: str) -> bool:
    if path.startswith("<"):
        return False
    real = os.path.realpath(path)
    if "/site-packages/" in real or "/dist-packages/" in real:
        return False
    return not any(real.startswith(os.path.join(folder, "")) for folder in _others())


@cache
def _others() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({os.path.realpath(paths[name]) for name in names} | {os.path.realpath(OURS)})


def _relative(path: str, job: Job) -> str:
    root = os.path.join(job.root, "")
    for base in (root, os.path.join(os.path.realpath(job.root), "")):
        if path.startswith(base):
            return path[len(base) :]
    return path


def _format(frames: list[traceback.FrameSummary], job: Job) -> str:
    lines = []
    for frame in frames:
        lines.append(f"  {_relative(frame.filename, job)}:{frame.lineno} in {frame.name}")
        if frame.line:
            lines.append(f"    {frame.line}")
    return "\n".join(lines)


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text):,} characters; the log has them all)"
