"""The points at which a build may be ended for a test. Light: the fast path goes through here."""

from __future__ import annotations


def at(_what: str, _path: str) -> None:
    """Do nothing, before each step of the file layer: ``write``, ``flush``, ``rename`` … of a path comes next.

    The place where tests end the process, or fill the disk, at every step in turn.
    """
