"""The audit hook: what Python itself says that it opens, lists, imports, writes and starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

from onnxbuild.observe import switch
from onnxbuild.observe.record import LOGS, Record
from onnxbuild.observe.scope import resolve
from onnxbuild.observe.switch import state, tell

SEARCHERS = (
    "<frozen importlib._bootstrap_external>",
    "/importlib/metadata/__init__.py",
    "/importlib_metadata/__init__.py",
    "/pkg_resources/__init__.py",
)
"""Code that lists every folder on `sys.path` in search of modules and distributions: no step depends on all
that lies there. What is found, or looked for by name, is seen otherwise."""

PROBES = frozenset(
    {"arch", "c++", "cc", "clang", "file", "g++", "gcc", "getconf", "ld", "ldconfig", "lscpu", "nvidia-smi", "objdump", "sysctl", "uname", "which"}
)  # fmt: skip
"""Programs that libraries start to learn about the machine, and that read nothing of a project."""

VARIABLE = "ONNXBUILD_OBSERVE"
"""Tells a Python that a step starts what to observe; see `onnxbuild.observe.children`."""

SWITCHES = frozenset("bBdEhiIOPqsSuvVx")
"""Options of Python that take no value."""

ISOLATING = frozenset("EIS")
"""Those that make it ignore our variables, or our `sitecustomize`."""

NATIVE = tuple(EXTENSION_SUFFIXES)
"""How the files of modules end that are native code: what such a one of the project's opens, no hook sees."""

_installed = False


def install() -> None:
    """Add the hook, once in a process."""
    global _installed  # noqa: PLW0603  an audit hook cannot be taken back
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    # An export raises 80,000 events, most of them for `id`.
    if event in SEES and switch.current is not None:
        tell(SEES[event], *args)


def _opened(record: Record, path: Any, _mode: Any, flags: int) -> None:
    if isinstance(path, int):
        return
    found = resolve(path, state.dir_fd)
    if found is None:
        return
    access = flags & os.O_ACCMODE
    if access == os.O_RDONLY:
        record.look(found, opened=True)
        return
    if os.path.isdir(found):
        # Python names the folder when `tempfile` opens a file of its own choice inside.
        return
    if access == os.O_RDWR and not flags & (os.O_TRUNC | os.O_EXCL):
        record.look(found, opened=True)
    record.wrote(found)


def _listed(record: Record, path: Any) -> None:
    found = resolve(path)
    # Three calls up is whoever listed: this, `tell`, the hook, the caller.
    if found is not None and not sys._getframe(3).f_code.co_filename.endswith(SEARCHERS):
        record.listed(found)


def _imported(record: Record, _module: Any, filename: Any, *_: Any) -> None:
    if filename is None:
        return
    path = resolve(filename)
    record.look(path, opened=True)
    if path is not None and path.endswith(NATIVE) and record.is_project_file(path):
        record.started(os.path.basename(path))


def _loaded(record: Record, name: Any) -> None:
    if record.is_called_by_project():
        record.started("ctypes")
    if isinstance(name, str | bytes | os.PathLike) and "/" in os.fsdecode(name):
        record.look(resolve(name), opened=True)


def _renamed(record: Record, source: Any, target: Any, source_fd: int, target_fd: int) -> None:
    before = resolve(source, _folder(source_fd))
    after = resolve(target, _folder(target_fd))
    record.look(before, opened=True)
    is_folder = before is not None and os.path.isdir(before)
    record.wrote(before, tree=is_folder)
    record.wrote(after, tree=is_folder)


def _removed(record: Record, path: Any, dir_fd: int = -1) -> None:
    found = resolve(path, _folder(dir_fd))
    if found is not None and os.path.lexists(found):
        record.wrote(found)
    else:
        record.look(found)


def _made(record: Record, path: Any, _mode: Any = 0, dir_fd: int = -1) -> None:
    found = resolve(path, _folder(dir_fd))
    if found is not None and os.path.lexists(found):
        # It fails, or `exist_ok` forgives it: the folder was there.
        record.look(found)
    else:
        record.wrote(found, tree=True)


def _removed_folder(record: Record, path: Any, dir_fd: int = -1) -> None:
    record.wrote(resolve(path, _folder(dir_fd)), tree=True)


def _truncated(record: Record, path: Any, _length: int = 0) -> None:
    if not isinstance(path, int):
        record.wrote(resolve(path))


def _linked(record: Record, source: Any, target: Any, source_fd: int, target_fd: int) -> None:
    record.look(resolve(source, _folder(source_fd)), opened=True)
    record.wrote(resolve(target, _folder(target_fd)))


def _symlinked(record: Record, _source: Any, target: Any, dir_fd: int = -1) -> None:
    found = resolve(target, _folder(dir_fd))
    if found is not None and not os.path.lexists(found):
        record.linked(found)


def _connected(record: Record, database: Any, *_: Any) -> None:
    """sqlite: read from what is there, and written by native code from then on."""
    name = os.fsdecode(database)
    if not name or name == ":memory:":
        return
    if name.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        name = unquote(urlsplit(name).path)
    found = resolve(name)
    if found is None:
        return
    record.look(found, opened=True)
    for suffix in LOGS:
        # What was committed may lie there alone, and sqlite takes them away when it closes.
        record.look(found + suffix, opened=True)
    for suffix in ("", *LOGS, "-shm"):
        record.wrote(found + suffix)


def _started(
    record: Record, executable: Any, arguments: Any, folder: Any, environment: Any, *_: Any
) -> None:
    """A program of the project's own is a file that the step reads; what it reads itself, the net sees."""
    name = os.fsdecode(executable) if isinstance(executable, str | bytes | os.PathLike) else ""
    here = resolve(folder) if isinstance(folder, str | bytes | os.PathLike) else os.getcwd()
    if "/" in name:
        record.look(resolve(os.path.join(here or "", name)), opened=True)
    program = os.path.basename(name)
    if program in PROBES:
        return
    words = arguments if isinstance(arguments, list | tuple) else [arguments]
    words = [os.fsdecode(word) for word in words if isinstance(word, str | bytes | os.PathLike)]
    if not program.startswith("python") or _is_deaf(words, environment):
        record.started(program)


def _is_deaf(words: Sequence[str], environment: Any) -> bool:
    """Tell whether a Python is started such that it does not get to our hooks."""
    if environment is not None and VARIABLE not in environment:
        return True
    for word in words[1:]:
        letters = set(word[1:])
        if not word.startswith("-") or not letters <= SWITCHES:
            return False
        if letters & ISOLATING:
            return True
    return False


def _shell(record: Record, _command: Any) -> None:
    record.started("sh")


def _executed(record: Record, path: Any, arguments: Any, environment: Any = None) -> None:
    _started(record, path, arguments, None, environment)


def _run(record: Record, path: Any) -> None:
    record.look(resolve(path), opened=True)


def _folder(number: int) -> int | None:
    return None if number == -1 else number


SEES: dict[str, Callable[..., None]] = {
    "open": _opened,
    "os.listdir": _listed,
    "os.scandir": _listed,
    "import": _imported,
    "ctypes.dlopen": _loaded,
    "cpython.run_file": _run,
    "os.rename": _renamed,
    "os.remove": _removed,
    "os.mkdir": _made,
    "os.rmdir": _removed_folder,
    "os.truncate": _truncated,
    "os.link": _linked,
    "os.symlink": _symlinked,
    "sqlite3.connect": _connected,
    "subprocess.Popen": _started,
    "os.exec": _executed,
    "os.posix_spawn": _executed,
    "os.system": _shell,
}
"""What each audit event means. All come before the thing happens."""
