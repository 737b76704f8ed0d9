"""Which paths count: the project's, the installed packages', the interpreter's, the system's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache

PROJECT = 1
"""Below the project root or one of its named roots: recorded relative to it."""
OUTSIDE = 2
"""Elsewhere, where a user's data could be: recorded absolutely, good on this machine only."""
SITE = 3
"""In a folder of installed packages: counts by the version of its distribution."""
IGNORED = 4
"""Never observed."""

UNSEEN = frozenset({".git", "__pycache__", ".venv"})
"""Folders that are not observed wherever they are."""

SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys",
    "/usr/bin", "/usr/include", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32",
    "/usr/sbin", "/usr/share", "/usr/local/bin", "/usr/local/lib", "/usr/local/cuda", "/var/run",
    "/Library", "/System",
)  # fmt: skip
"""Folders of the operating system: what is there came with the machine, and libraries probe it (time
zones, certificates, ``/etc/passwd``, ``ldconfig``, CPU flags, CUDA). Only what the project's own code opens
there counts. User data lies elsewhere: ``/home``, ``/root``, ``/data``, ``/mnt``, ``/opt``, ``/srv``, ``/tmp``,
``/var/lib``, ``/usr/src`` are observed."""

UNREAL = ("/dev", "/proc", "/sys")
"""Folders of the system that hold no files."""

BARE = frozenset({"/", "/usr", "/usr/local", "/opt", "/opt/homebrew"})
"""Prefixes that an interpreter may have and that hold more than the interpreter."""


SYSTEM_FILES = tuple(folder + "/" for folder in SYSTEM if folder not in UNREAL)


class Scope:
    """Tells for each path whether it counts, by the nearest named folder above it.

    So a project below ``/tmp`` or ``/usr/src`` is observed, the ``.venv`` inside it is not, and the
    packages inside that count by version.
    """

    def __init__(self, *, root: str, roots: Mapping[str, str], ignored: Iterable[str]) -> None:
        self.root = _clean(root)
        self.roots = {name: _clean(folder) for name, folder in roots.items()}
        self.ignored = tuple(_clean(folder) for folder in ignored)
        self.sites = sites()
        self._aliases: list[tuple[str, str]] = []
        self._kinds = dict(_machine())
        self.home = os.path.dirname(_own()[0])
        """The folder that onnxbuild itself is imported from, which an editable install puts on the path."""
        for folder in (*self.roots.values(), self.root):
            self._name(folder, PROJECT)
        for folder in (*self.ignored, *_temporary(self.root)):
            self._name(folder, IGNORED)
        self._python = tuple(folder + "/" for folder in interpreter())
        self._by_folder: dict[str, int] = {}
        self.above = _parents(self._kinds)

    def _name(self, folder: str, kind: int) -> None:
        self._kinds[folder] = kind
        real = os.path.realpath(folder)
        if real == folder:
            return
        self._kinds[real] = kind
        if kind == PROJECT:
            self._aliases.append((real, folder))

    def kind(self, path: str) -> int:
        """Say of what kind an absolute, normalized path is."""
        own = self._kinds.get(path)
        if own is not None:
            return own
        folder, _, name = path.rpartition("/")
        known = self._by_folder.get(folder)
        if known is None:
            known = self.kind(folder) if folder else OUTSIDE
            self._by_folder[folder] = known
        # The bytecode of an installed package is read in place of its source.
        return IGNORED if name in UNSEEN and known != SITE else known

    def is_system(self, path: str) -> bool:
        """Tell whether a path that is ignored is a file of the operating system's, as any program may read one."""
        return path.startswith(SYSTEM_FILES) and not path.startswith(self._python)

    def is_named(self, path: str) -> bool:
        """Tell whether `path` is one of the named folders itself."""
        return path in self._kinds

    def place(self, path: str) -> tuple[int, str]:
        """Say of what kind a path is, and the path under which it is recorded.

        A path that reaches the project through another name of it (its real path, a link from outside)
        is the project's.
        """
        kind = self.kind(path)
        if kind == OUTSIDE:
            real = os.path.realpath(path)
            if real != path and self.kind(real) != OUTSIDE:
                kind, path = self.kind(real), real
        if kind == PROJECT:
            for real, given in self._aliases:
                if path == real or path.startswith(real + "/"):
                    return kind, given + path[len(real) :]
        return kind, path

    def site(self, path: str) -> str | None:
        """Give the folder of installed packages that holds `path`."""
        for folder in self.sites:
            if path.startswith(folder + "/"):
                return folder
        return None


def resolve(path: object, dir_fd: int | None = None) -> str | None:
    """Make a path as it was handed to the system absolute and normal; None if there is no telling."""
    if path is None:
        path = "."
    if isinstance(path, int):
        return _descriptor(path)
    if isinstance(path, bytes | os.PathLike):
        path = os.fsdecode(path)
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    if path[0] != "/":
        folder = os.getcwd() if dir_fd is None else _descriptor(dir_fd)
        if folder is None:
            return None
        path = folder + "/" + path
    if "/." not in path and "//" not in path and path[-1] != "/":
        return path
    head, dots, tail = (path + "/").rpartition("/../")
    if dots:
        # What is above a link is above its target.
        path = os.path.dirname(os.path.realpath(head)) + "/" + tail
    return "/" + "/".join(part for part in path.split("/") if part not in {"", "."})


def _descriptor(number: int) -> str | None:
    """Find the path of an open descriptor."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            path = os.readlink(f"{folder}/{number}")
        except OSError:
            continue
        return path if path.startswith("/") else None
    return None


def interpreter() -> list[str]:
    """List the folders of the running interpreter and of the environment that it runs in."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = [os.path.dirname(os.__file__)]
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        folders.append(f"{prefix}/{sys.platlibdir}/{version}")
        if prefix not in BARE:
            folders.append(prefix)
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    folders += [entry for entry in sys.path if entry.endswith("/" + archive)]
    return [_clean(folder) for folder in folders]


@cache
def _machine() -> dict[str, int]:
    """Give the kinds of the folders that every scope of this process names; worth 7 ms in a fresh fork."""
    kinds = dict.fromkeys((*SYSTEM, *interpreter()), IGNORED)
    kinds |= dict.fromkeys(sites(), SITE)
    kinds |= dict.fromkeys(_own(), IGNORED)
    return {os.path.realpath(folder): kind for folder, kind in kinds.items()} | kinds


@cache
def sites() -> tuple[str, ...]:
    """List the folders of installed packages, the deepest first."""
    import site

    folders = {entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    folders.update(site.getsitepackages())
    user = site.getusersitepackages()
    folders.add(user)
    found = {_clean(folder) for folder in folders if os.path.isabs(folder)}
    found |= {os.path.realpath(folder) for folder in found}
    return tuple(sorted(found, key=len, reverse=True))


def _own() -> list[str]:
    """The package onnxbuild: the action key has its code."""
    return [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]


def _temporary(root: str) -> list[str]:
    """The worker's private temporary folder. A shared one, such as ``/tmp``, may hold a user's data."""
    folder = os.environ.get("TMPDIR", "")
    if not os.path.isabs(folder):
        return []
    folder = _clean(folder)
    if folder in {"/tmp", "/var/tmp", "/usr/tmp"} or (root + "/").startswith(folder + "/"):  # noqa: S108
        return []
    return [folder]


def _clean(folder: str) -> str:
    return os.path.normpath(os.path.abspath(folder))


def _parents(folders: Iterable[str]) -> frozenset[str]:
    """All folders above the given ones."""
    found = {"/"}
    for folder in folders:
        above = os.path.dirname(folder)
        while above not in found:
            found.add(above)
            above = os.path.dirname(above)
    return frozenset(found)
