"""The net under the hooks: which files below the project root were opened by anybody at all.

Native code and programs that are not Python open files that no hook sees; the kernel does (inotify, so on
Linux only; elsewhere `Net.reason` says that there is none). The driver spreads the net once for a build::

    net = Net(root, ignored, roots)
    net.start()
    mark = net.mark()  # a step begins
    with net.own(path):  # what the driver itself opens is nobody's dependency
        digest_file(path)
    net.unexplained(mark, logs)  # it has ended: what was opened since, less what the logs
    #                              (`Observer(log=…)`) of all jobs that ran meanwhile tell of
    net.lost  # not empty: events were dropped, no step that ran meanwhile gets a trace

What remains unexplained is charged to every step that was running. Symbolic links out of the root, and the
named roots, are followed.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from onnxbuild.observe.links import Links
from onnxbuild.observe.log import read_lines
from onnxbuild.observe.record import is_below
from onnxbuild.observe.scope import OUTSIDE, UNSEEN, Scope

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_CLOSE_NOWRITE = 0x10
IN_OPEN = 0x20
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_DONT_FOLLOW = 0x2000000
IN_EXCL_UNLINK = 0x4000000
IN_ISDIR = 0x40000000

OF_FILES = IN_MODIFY | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_OPEN | IN_CREATE
"""What is noted of files. From it follows whether one was read, or only written."""

WATCHED = OF_FILES | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK

SKIPPED = UNSEEN | {
    ".hypothesis", ".idea", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache",
    ".tox", ".vscode", "dist-packages", "node_modules", "site-packages",
}  # fmt: skip
"""Folders of tools: large, opened all the time, and never what a step reads."""

MOST_BEHIND = 4096
"""Folders that are watched behind one link, or in one named root: a whole disk of data takes minutes."""

_HEADER = struct.Struct("iIII")


class Net:
    """Collects the files below `root` and the folders `roots` that any process opens."""

    def __init__(
        self, root: str, ignored: Sequence[str] = (), roots: Mapping[str, str] | None = None
    ) -> None:
        self.root = os.path.normpath(os.path.abspath(root))
        self._roots = roots or {}
        self.ignored = frozenset(os.path.normpath(os.path.abspath(folder)) for folder in ignored)
        self.reason = ""
        """Why there is no net, or only a part of one; empty when it is whole."""
        self.lost = ""
        """Why opens may have been missed since the start; empty when none was."""
        self._events: list[tuple[str, int] | None] = []
        self._folders: dict[int, str] = {}
        self._around: dict[int, str] = {}
        """Folders outside that hold files which links lead to: nothing else in them counts."""
        self._watched: list[str] = []
        """The real paths of the folders that are watched with all that is below them."""
        self._links = Links()
        self._scope: Scope | None = None
        self._lock = threading.RLock()
        self._descriptor = -1
        self._ears: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch every folder below the root, and those that will appear."""
        if not sys.platform.startswith("linux"):
            self.reason = f"{sys.platform} does not tell which files are opened"
            return
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            self.reason = f"inotify: {os.strerror(ctypes.get_errno())}"
            return
        with self._lock:
            self._watched.append(os.path.realpath(self.root))
            self._watch(self.root, name=self.root)
            for folder in self._roots.values():
                self._watched.append(os.path.realpath(folder))
                self._watch(folder, name=folder, most=MOST_BEHIND)
        self._ears = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="onnxbuild-net", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the net in. What was collected stays."""
        if self._thread is not None and self._ears is not None:
            os.write(self._ears[1], b".")
            self._thread.join()
            os.close(self._ears[0])
            os.close(self._ears[1])
            self._thread, self._ears = None, None
        if self._descriptor >= 0:
            self._read()
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Net:  # noqa: PYI034
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def mark(self) -> int:
        """Give the present moment, for `opened_since`."""
        self._read()
        return len(self._events)

    def opened_since(self, mark: int) -> frozenset[str]:
        """Give the absolute paths of the files that others than the driver opened since `mark`.

        Not those that were only written: opened, changed and closed by whoever had opened them to write, as an
        editor does; nor those that were made meanwhile, which are nobody's input.
        """
        self._read()
        masks: dict[str, list[int]] = {}
        with self._lock:
            for event in self._events[mark:]:
                if event is not None:
                    masks.setdefault(event[0], []).append(event[1])
        return frozenset(path for path, found in masks.items() if _is_read(found))

    def drain(self) -> frozenset[str]:
        """Give all paths opened so far and forget them. Marks that were given before mean nothing then."""
        opened = self.opened_since(0)
        with self._lock:
            self._events.clear()
        return opened

    def unexplained(self, mark: int, logs: Iterable[str]) -> frozenset[str]:
        """Give what was opened since `mark` and is in none of the logs of jobs."""
        opened = self.opened_since(mark)
        if not opened:
            return opened
        explained: set[str] = set()
        made: set[str] = set()
        for log in logs:
            for what, path in _tell(log):
                (made if what == "made" else explained).add(path)
        left = {path for path in opened - explained if not is_below(path, made)}
        if not left:
            return frozenset()
        # Only now: a thousand files need no look at their links where all are told of.
        told = set(map(os.path.realpath, explained))
        left = {path for path in left if os.path.realpath(path) not in told}
        return frozenset(left.union(*map(self._links.names, left)))

    @contextmanager
    def own(self, *paths: str) -> Iterator[None]:
        """Tell that it is the driver that opens these paths in between."""
        mark = self.mark()
        hidden = set(map(os.path.realpath, paths))
        try:
            yield
        finally:
            self._read()
            with self._lock:
                for position in range(mark, len(self._events)):
                    event = self._events[position]
                    if event is not None and os.path.realpath(event[0]) in hidden:
                        self._events[position] = None

    def _watch(
        self, place: str, *, name: str, is_new: bool = False, most: int | None = None
    ) -> None:
        """Watch the folder at `place`, known as `name`, and all below it.

        The files of one that is new may have been opened already.
        """
        top = name
        count = 0
        open_ends = [(place, name)]
        while open_ends:
            place, name = open_ends.pop()
            count += 1
            if most is not None and count > most:
                self.reason = self.reason or f"there are more than {most:,} folders in {top}"
                return
            number = self._add_watch(place)
            if number < 0:
                continue
            self._around.pop(number, None)
            self._folders[number] = name
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        path = f"{name}/{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            if self._counts(entry.name, path):
                                open_ends.append((entry.path, path))
                            continue
                        if entry.is_symlink():
                            self._follow(path)
                        if is_new:
                            self._events.append((path, IN_OPEN))
            except OSError as error:
                self._cannot_watch(place, error.errno or 0)

    def _add_watch(self, folder: str) -> int:
        number: int = self._library.inotify_add_watch(
            self._descriptor, os.fsencode(folder), WATCHED
        )
        if number < 0:
            self._cannot_watch(folder, ctypes.get_errno())
        return number

    def _follow(self, link: str) -> None:
        """Watch what lies outside behind a link, under the link's name."""
        if not self._counts(os.path.basename(link), link):
            return
        real = os.path.realpath(link)
        if is_in(self._watched[0], real):
            # It leads to the root or above it: to everything by another name.
            return
        self._links.add(link, real)
        if any(is_in(real, folder) for folder in self._watched) or not self._is_data(real):
            return
        if os.path.isdir(real):
            self._watched.append(real)
            self._watch(real, name=link, most=MOST_BEHIND)
        elif os.path.isfile(real):
            number = self._add_watch(os.path.dirname(real))
            if number >= 0 and number not in self._folders:
                self._around[number] = os.path.dirname(real)

    def _is_data(self, path: str) -> bool:
        if self._scope is None:
            self._scope = Scope(root=self.root, roots=self._roots, ignored=self.ignored)
        return self._scope.kind(path) == OUTSIDE

    def _cannot_watch(self, folder: str, number: int) -> None:
        if os.path.isdir(folder) and not self.reason:
            self.reason = f"{folder} cannot be watched: {os.strerror(number)}"

    def _counts(self, name: str, path: str) -> bool:
        if name in SKIPPED or path in self.ignored:
            return False
        return not os.path.exists(path + "/pyvenv.cfg")

    def _listen(self) -> None:
        """Keep the kernel's queue short."""
        ears = self._ears
        if ears is None:
            return
        while True:
            ready, _, _ = select.select([self._descriptor, ears[0]], [], [])
            if ears[0] in ready:
                return
            self._read()

    def _read(self) -> None:
        """Take all events that there are: an open that has happened has its event in the queue."""
        with self._lock:
            while self._descriptor >= 0:
                try:
                    content = os.read(self._descriptor, 1 << 18)
                except BlockingIOError:
                    return
                self._take(content)

    def _take(self, content: bytes) -> None:
        position = 0
        while position < len(content):
            number, mask, _, length = _HEADER.unpack_from(content, position)
            position += _HEADER.size
            name = os.fsdecode(content[position : position + length].rstrip(b"\0"))
            position += length
            if mask & IN_Q_OVERFLOW:
                self.lost = "more files were opened at once than the kernel could tell of"
            elif mask & IN_IGNORED:
                self._folders.pop(number, None)
                self._around.pop(number, None)
            elif number in self._around:
                if mask & OF_FILES and not mask & IN_ISDIR:
                    known = self._links.names(f"{self._around[number]}/{name}")
                    self._events += [(link, mask) for link in known[:1]]
            elif number in self._folders and name:
                self._happened(mask, name, f"{self._folders[number]}/{name}")

    def _happened(self, mask: int, name: str, path: str) -> None:
        if mask & IN_ISDIR:
            if mask & (IN_CREATE | IN_MOVED_TO) and self._counts(name, path):
                self._watch(path, name=path, is_new=True)
            return
        if mask & (IN_CREATE | IN_MOVED_TO) and os.path.islink(path):
            self._follow(path)
        if mask & OF_FILES and path not in self.ignored:
            self._events.append((path, mask))


def _is_read(masks: list[int]) -> bool:
    """Tell from all that happened to a file whether somebody may have read what it held before."""
    opened = sum(mask & IN_OPEN != 0 for mask in masks)
    if not opened or any(mask & IN_CREATE for mask in masks):
        return False
    written = sum(mask & IN_CLOSE_WRITE != 0 for mask in masks)
    only_written = written >= opened and any(mask & IN_MODIFY for mask in masks)
    return not only_written or any(mask & IN_CLOSE_NOWRITE for mask in masks)


def is_in(path: str, folder: str) -> bool:
    """Tell whether `path` is the folder or in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def has_started(log: str) -> bool:
    """Tell whether a job has started a program in which no hook is, by the log of what it saw."""
    try:
        lines, _ = read_lines(log)
    except FileNotFoundError:
        return False
    return any(line[0] == "started" for line in lines)


def _tell(log: str) -> Iterator[tuple[str, str]]:
    try:
        lines, _ = read_lines(log)
    except FileNotFoundError:
        return
    for line in lines:
        if line[0] in {"file", "absent", "unreadable", "wrote", "made"}:
            yield line[0], line[1]
