"""A copy of what the steps of a project were seen to read, in another place and deeper.

Not the whole project: what no step looked at is not there, and a step that needs it all the same is found
out. Names in a folder that was listed are there, with nothing in those files that nobody read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from onnxbuild.core import files
from onnxbuild.core.digest import digest_file
from onnxbuild.core.facts import UNLISTED, find_path
from onnxbuild.core.trace import Fact
from onnxbuild.engine.setting import Site
from onnxbuild.errors import OnnxbuildError

STORE = ".onnxbuild"
"""The folder in the copy that takes its store."""


@contextmanager
def copied(site: Site, artifacts: str, facts: Iterable[Fact], base: str) -> Iterator[Site]:
    """Give the site of a copy of what `facts` tell of, until the end; `artifacts` is the folder of models.

    The copy stands below the temporary folder `base` under its own full path. So it lies deeper than the original, and
    what a path with ``..`` reaches outside of the project is found by that path, through a link.
    """
    # Real, since a step may ask for the real path of what it reads.
    base = os.path.realpath(base)
    root = base + site.root
    _copy(site, base, facts)
    yield Site(
        root=root,
        roots=site.roots,
        ignored=(os.path.join(root, STORE), os.path.join(root, artifacts)),
        variables=site.variables,
    )


@contextmanager
def temporary_folder() -> Iterator[str]:
    """Make a folder where the system has such, for who may not write to the store."""
    with tempfile.TemporaryDirectory(prefix="onnxbuild-") as folder:
        yield folder


def _copy(site: Site, base: str, facts: Iterable[Fact]) -> None:
    try:
        os.makedirs(base + site.root)
        _Copying(site, base).copy(facts)
    except OSError as error:
        raise OnnxbuildError(
            f"the project cannot be copied: {error.strerror or error}",
            where=error.filename or base,
            hint="the disk of the store, or of TMPDIR where that cannot be written, needs room for what the steps read",
        ) from error


class _Copying:
    """Copies what facts tell of into a folder that stands for the root of the file system."""

    def __init__(self, site: Site, base: str) -> None:
        self._site = site
        self._base = base

    def copy(self, facts: Iterable[Fact]) -> None:
        """Copy it, the links first: what lies behind one is not to be written beside it."""
        kinds: dict[str, list[Fact]] = {}
        for fact in sorted(set(facts)):
            kinds.setdefault(fact[0], []).append(fact)
        for _, name, _ in kinds.get("link", ()):
            if name.startswith("./"):
                self._link(self._find(name))
        for kind in ("listing", "folder", "file"):
            for _, name, _ in kinds.get(kind, ()):
                if name.startswith(("/", "$")):
                    self._reach(self._find(name))
        for _, name, _ in (*kinds.get("folder", ()), *kinds.get("listing", ())):
            if name.startswith("."):
                self._folder(self._find(name))
        for _, name, digest in kinds.get("file", ()):
            if name.startswith("./"):
                self._file(self._find(name), digest)
        for _, name, _ in kinds.get("listing", ()):
            if name.startswith("."):
                self._names(self._find(name))

    def _find(self, name: str) -> str:
        return find_path(name, self._site.root, dict(self._site.roots))

    def _target(self, path: str) -> str | None:
        """Say where the copy of a path belongs; None where a link leads out of the copy, so that it is there."""
        target = os.path.realpath(self._base + path)
        return target if target.startswith(self._base + "/") else None

    def _link(self, path: str) -> None:
        """Copy a link: to the copy of what it points to in the project, to the very thing elsewhere."""
        if not os.path.islink(path):
            return
        aim = os.path.join(os.path.dirname(path), os.readlink(path))
        real = os.path.realpath(aim)
        is_inside = real == self._site.root or real.startswith(self._site.root + "/")
        target = self._base + path
        folder = self._target(os.path.dirname(path))
        if folder is not None and not os.path.lexists(target):
            os.makedirs(folder, exist_ok=True)
            os.symlink(self._base + real if is_inside else aim, target)

    def _reach(self, path: str) -> None:
        """Make something outside of the project reachable by a path with ``..``; never what the project is in."""
        target = self._target(path)
        if target is None or (self._site.root + "/").startswith(path.rstrip("/") + "/"):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.symlink(path, target)

    def _folder(self, path: str) -> None:
        target = self._target(path)
        if target is not None:
            os.makedirs(target, exist_ok=True)

    def _file(self, path: str, digest: str) -> None:
        target = self._target(path)
        if target is None or os.path.exists(target):
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        clone(path, target)
        if digest_file(target) != digest:
            raise OnnxbuildError(
                "the file changed since a step read it",
                where=path,
                hint="run again while nobody edits the project",
            )

    def _names(self, path: str) -> None:
        """Have what a folder lists: files that nobody read as long as they are, and empty."""
        target = self._target(path)
        if target is None:
            return
        with os.scandir(path) as entries:
            for entry in entries:
                there = os.path.join(target, entry.name)
                if (
                    entry.name in UNLISTED
                    or entry.path in self._site.ignored
                    or os.path.lexists(there)
                ):
                    continue
                if entry.is_dir():
                    os.makedirs(there)
                    continue
                with open(there, "xb") as file:
                    file.truncate(os.stat(entry.path).st_size if entry.is_file() else 0)


def clone(source: str, target: str) -> None:
    """Copy a file with its permissions, sharing its blocks where the file system can."""
    with open(target, "xb") as copy:
        files.append(source, copy)
    shutil.copymode(source, target)
