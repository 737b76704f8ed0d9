"""Look at files, and note what was seen, so that the outcome can be remembered."""

from __future__ import annotations

import os
import stat
import time

from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.facts import digest_listing, digest_variable, is_settled, name_path, signature
from onnxbuild.core.trace import Fact


class Looking:
    """The files, folders and variables that were looked at while a recipe was read."""

    def __init__(self, root: str, ignored: tuple[str, ...] = ()) -> None:
        self.root = root
        self.ignored = ignored
        self.signatures: dict[str, tuple[int, int, int, int]] = {}
        """By absolute path: what vouches for a file's digest, where it had settled when it was read."""
        self.changed: list[str] = []
        """Files that changed while they were read: what was made of them must not be remembered."""
        self._facts: dict[tuple[str, str], str] = {}

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All that was seen, sorted."""
        return tuple(sorted((kind, name, value) for (kind, name), value in self._facts.items()))

    def note(self, kind: str, name: str, value: str) -> None:
        """Note a fact that is not about a file."""
        self._facts[kind, name] = value

    def variable(self, name: str) -> str | None:
        """Read an environment variable; only a digest of its value is noted."""
        self.note("variable", name, digest_variable(name))
        return os.environ.get(name)

    def read(self, path: str) -> bytes | None:
        """Read a file; None when it is not there. Raises `OSError` when it cannot be read."""
        path = os.path.abspath(path)
        try:
            with open(path, "rb") as file:
                seen = signature(os.fstat(file.fileno()))
                content = file.read()
                after = signature(os.fstat(file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            self._see("absent", path, "")
            return None
        if seen != after:
            self.changed.append(path)
        if is_settled(seen, time.time_ns()):
            self.signatures[path] = seen
        self._see("file", path, digest_bytes(content))
        return content

    def kind(self, path: str) -> str:
        """Tell whether a path is a ``file``, a ``folder`` or ``absent``, without reading it.

        For a file the listing of its folder stands in: to digest gigabytes of weights only to learn that they are
        there would cost more than all the rest.
        """
        path = os.path.abspath(path)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._see("absent", path, "")
            return "absent"
        if stat.S_ISDIR(status.st_mode):
            self._see("folder", path, "")
            return "folder"
        self.names(os.path.dirname(path))
        return "file"

    def names(self, folder: str) -> list[str]:
        """List the names in a folder; none when there is no such folder."""
        folder = os.path.abspath(folder)
        try:
            names = sorted(os.listdir(folder))
            self._see("listing", folder, digest_listing(folder, self.ignored))
        except (FileNotFoundError, NotADirectoryError):
            self._see("absent", folder, "")
            return []
        return names

    def _see(self, kind: str, path: str, value: str) -> None:
        self._facts[kind, name_path(path, self.root, {})] = value
