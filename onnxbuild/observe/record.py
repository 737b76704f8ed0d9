"""What one step was seen to do, in order, and what follows from it.

Events are kept as ``(what, path, value, signature, at, more)``. Several processes may write events of one
step to one log; its order is the order in which things happened.
"""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple

from onnxbuild.core.digest import digest_bytes, digest_file
from onnxbuild.core.facts import SEPARATOR, digest_link, list_folder, signature
from onnxbuild.observe.log import Log
from onnxbuild.observe.packages import owners, requirements
from onnxbuild.observe.scope import IGNORED, OUTSIDE, PROJECT, SITE, Scope

INFO = (".dist-info", ".egg-info")
"""How the folders end that describe installed distributions."""

LOGS = ("-journal", "-wal")
"""How the files end that sqlite keeps beside a database, and that belong to what it holds."""

BETWEEN = (
    "<",
    os.path.dirname(os.path.abspath(__file__)) + "/",
    sysconfig.get_path("stdlib") + "/",
)
"""Where code lies that opens files for others: this package, and the standard library."""

Signature = tuple[int, int, int, int]


class Event(NamedTuple):
    """One thing seen."""

    what: str
    """A kind of fact; ``wrote`` (a file) or ``made`` (a folder, and so all below it); ``asked`` (for a
    variable that is not there); ``started`` (a program, or native code of the project's, that no hook is in)."""
    path: str
    """An absolute path; for ``package``, ``module``, ``asked`` and ``started`` the name."""
    value: str = ""
    signature: Signature | None = None
    at: int = 0
    """When the digest was taken, in nanoseconds."""
    more: str = ""
    """The names in a listing; the module looked for in a folder."""


class Record:
    """Takes note of everything once, from any thread and, through the log, from any process."""

    def __init__(self, scope: Scope, log: Log | None) -> None:
        self.scope = scope
        self.log = log
        self.events: list[Event] = []
        self.lost: list[str] = []
        self.hidden: dict[str, str] = {}
        """By the name of an imported module that is not the project's, the project's file of that name."""
        self.looked_behind: set[str] = set()
        """Names of modules for which it is known whether there is such a file."""
        self._seen: set[str] = set()
        self._noted: set[tuple[str, str]] = set()
        self._imported: set[str] = set()
        self._wrote: set[str] = set()
        self._made: set[str] = set()
        self._links: set[str] = set()
        self._lock = threading.RLock()

    def after_fork(self) -> None:
        """Go on in a forked child, whatever thread held the lock."""
        self._lock = threading.RLock()

    def lose(self, reason: str) -> None:
        """Say that something may have been missed, so that the record proves nothing."""
        if self.log is not None and not self.log.add(["lost", reason]):
            reason += " (and the log of observations could not be written)"
        if reason not in self.lost:
            self.lost.append(reason)

    def look(self, path: str | None, *, opened: bool = False) -> None:
        """A path was looked at, or opened for reading."""
        if (
            path is not None
            and self._links
            and (path in self._links or is_below(path, self._links))
        ):
            # Its own link, but not what it points to.
            path = os.path.realpath(path)
        if path is None or path in self._seen:
            return
        kind, placed = self.scope.place(path)
        if kind == SITE:
            if opened:
                self._seen.add(path)
                self._belongs(placed)
            return
        if (
            kind == IGNORED
            and opened
            and self.scope.is_system(path)
            and self.is_called_by_project()
        ):
            self._look(OUTSIDE, path)
        self._seen.add(path)
        if kind != IGNORED and not self.is_own(placed):
            self._look(kind, placed)

    def is_called_by_project(self) -> bool:
        """Tell whether it is project code that does something now, itself or by way of the standard library."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.startswith(BETWEEN):
            frame = frame.f_back
        return frame is not None and self.is_project_file(frame.f_code.co_filename)

    def _look(self, kind: int, path: str) -> None:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._note(Event("absent", path))
            return
        except OSError:
            self._note(Event("unreadable", path))
            return
        if stat.S_ISDIR(status.st_mode):
            if path not in self.scope.above and (kind == PROJECT or path.count("/") > 1):
                self._note(Event("folder", path))
        elif stat.S_ISREG(status.st_mode):
            self._digest(path, status)

    def _digest(self, path: str, status: os.stat_result) -> None:
        at = time.time_ns()
        try:
            digest = digest_file(path)
        except OSError:
            self._note(Event("unreadable", path))
            return
        self._note(Event("file", path, digest, signature(status), at))

    def _belongs(self, path: str) -> None:
        """A file among the installed packages was opened."""
        site = self.scope.site(path)
        if site is None:
            return
        if path[len(site) + 1 :].partition("/")[0].endswith(INFO):
            # Whoever looks for entry points reads them all; see `native` for who asks by name.
            return
        found = owners(path, site)
        for distribution in found:
            self.package(distribution)
        if not found and not path.endswith(".pth") and os.path.isfile(path):
            # Of no distribution, so it has no version. Bytecode stands for its source.
            self._look(OUTSIDE, source_of(path))

    def look_at_link(self, path: str | None) -> None:
        """A path was looked at without following it, if it is a symbolic link."""
        if path is None:
            return
        if self.scope.is_named(path) or not os.path.islink(path):
            self.look(path)
            return
        kind, folder = self.scope.place(os.path.dirname(path))
        placed = folder.rstrip("/") + "/" + os.path.basename(path)
        if (
            kind in {PROJECT, OUTSIDE}
            and not self.is_own(placed)
            and placed not in self.scope.above
        ):
            self._note(Event("link", placed, digest_link(placed)))

    def listed(self, path: str | None) -> None:
        """The names in a folder were read."""
        if path is None:
            return
        kind, path = self.scope.place(path)
        if kind not in {PROJECT, OUTSIDE} or ("listing", path) in self._noted or self.is_own(path):
            return
        try:
            names = SEPARATOR.join(list_folder(path, self.scope.ignored))
        except OSError:
            self._look(kind, path)
            return
        digest = digest_bytes(names.encode("utf-8", "surrogateescape"))
        self._note(Event("listing", path, digest, more=names))

    def wrote(self, path: str | None, *, tree: bool = False) -> None:
        """The step wrote, made, moved or removed a file, or a folder with all that is below it."""
        if path is None:
            return
        kind, path = self.scope.place(path)
        if kind in {IGNORED, SITE}:
            return
        (self._made if tree else self._wrote).add(path)
        self._seen.discard(path)
        self._note(Event("made" if tree else "wrote", path))

    def linked(self, path: str) -> None:
        """The step made a symbolic link: that is its own, and what lies behind it is not."""
        self._links.add(path)
        self._note(Event("wrote", path))

    def started(self, program: str) -> None:
        """The step started a program, or native code, in which no hook is: what that opens, the net alone sees."""
        self._note(Event("started", program))

    def is_own(self, path: str) -> bool:
        """Tell whether the step itself made what is at `path`."""
        if path in self._wrote or path in self._made:
            return True
        return bool(self._made) and is_below(path, self._made)

    def is_project_file(self, path: str) -> bool:
        """Tell whether a file is code of the project (or of an editable install)."""
        return self.scope.place(path)[0] in {PROJECT, OUTSIDE}

    def package(self, distribution: str) -> None:
        """Files of a distribution were read, or project code imported it."""
        self._note(Event("package", distribution))

    def package_with_requirements(
        self, distribution: str, loaded: Callable[[Record], set[str]]
    ) -> None:
        """Project code imported a distribution that was there already, with what it requires."""
        if distribution in self._imported:
            return
        there = loaded(self)
        queue = [distribution]
        while queue:
            name = queue.pop()
            if name in self._imported:
                continue
            self._imported.add(name)
            self.package(name)
            queue += [required for required in requirements(name) if required in there]

    def module(self, name: str) -> None:
        """A module was looked for, and no installed package has it."""
        self._note(Event("module", name))

    def asked(self, variable: str) -> None:
        """Project code asked for an environment variable that it does not get."""
        self._note(Event("asked", variable))

    def shadow(self, folder: str, module: str) -> None:
        """A module was looked for in a folder and is not there."""
        kind, folder = self.scope.place(folder)
        if folder == self.scope.home and kind == OUTSIDE:
            return
        if kind in {PROJECT, OUTSIDE} and not self.is_own(folder):
            self._note(Event("shadows", folder, more=module))

    def _note(self, event: Event) -> None:
        noted = (
            event.what,
            f"{event.path}\0{event.more}" if event.what == "shadows" else event.path,
        )
        with self._lock:
            if noted in self._noted:
                return
            self._noted.add(noted)
            self.events.append(event)
        if self.log is not None and not self.log.add(list(event)):
            self.lost.append("the log of observations could not be written")


def source_of(path: str) -> str:
    """Give the source of a bytecode cache that has one; of another file itself."""
    folder, _, name = path.rpartition("/")
    if not name.endswith(".pyc") or not folder.endswith("/__pycache__"):
        return path
    source = f"{folder.removesuffix('/__pycache__')}/{name.partition('.')[0]}.py"
    return source if os.path.isfile(source) else path


def is_below(path: str, folders: set[str]) -> bool:
    """Tell whether `path` is in one of the folders."""
    above = path.rpartition("/")[0]
    while above:
        if above in folders:
            return True
        above = above.rpartition("/")[0]
    return False
