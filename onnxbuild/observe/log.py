"""The log of one job: a line of JSON for each thing seen, by every process of the job.

Lines are appended in one write each, so that processes do not cut into each other.
"""

from __future__ import annotations

import json
import os
from typing import Any


class Log:
    """Appends to a log. Survives a fork, and code that closes descriptors it does not know."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._identity = (0, 0)
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        status = os.fstat(self._descriptor)
        self._identity = (status.st_dev, status.st_ino)

    def add(self, values: list[Any]) -> bool:
        """Append one line; False when that failed."""
        line = json.dumps(values).encode() + b"\n"
        try:
            if not self._is_open():
                self._open()
            return os.write(self._descriptor, line) == len(line)
        except OSError:
            return False

    def _is_open(self) -> bool:
        """Tell whether the descriptor is still the log's: its number may have gone to another file."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def close(self) -> None:
        """Give the descriptor back."""
        if self._is_open():
            os.close(self._descriptor)
        self._descriptor = -1


def read_lines(path: str) -> tuple[list[list[Any]], bool]:
    """Read all whole lines of a log; False beside them when one is damaged or cut short."""
    lines: list[list[Any]] = []
    whole = True
    with open(path, "rb") as file:
        for line in file:
            try:
                values = json.loads(line)
            except ValueError:
                whole = False
                continue
            lines.append(values)
            whole = whole and line.endswith(b"\n")
    return lines, whole
