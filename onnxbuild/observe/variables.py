"""Environment variables that project code asks for and does not get.

A step gets the variables that its recipe passes on, and no other. That is seen only by who asks: so what
was asked for in vain is noted, and a build says which of it is set where it was called.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

from onnxbuild.observe.record import Record
from onnxbuild.observe.scope import resolve
from onnxbuild.observe.switch import is_on, tell

BETWEEN = ("<frozen os>", "<frozen _collections_abc>", os.__file__, __file__)
"""Code through which a variable is asked for: ``os.getenv`` and what mappings have in common."""


class _Environment(os._Environ):  # type: ignore[type-arg]  # a generic class takes no subscript at run time
    """`os.environ`, which says what it does not have."""

    def __getitem__(self, key: Any) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            if is_on():
                tell(_see, key, sys._getframe(1))
            raise


def install() -> None:
    """Make `os.environ` tell, once in a process. It stays the same object, which many modules hold."""
    os.environ.__class__ = _Environment


def _see(record: Record, name: Any, frame: FrameType | None) -> None:
    while frame is not None and frame.f_code.co_filename in BETWEEN:
        frame = frame.f_back
    file = None if frame is None else resolve(frame.f_code.co_filename)
    if isinstance(name, str) and file is not None and record.is_project_file(file):
        record.asked(name)
