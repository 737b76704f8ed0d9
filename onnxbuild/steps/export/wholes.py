"""``int(size)`` and ``float(size)`` in the code of a model, which a capture would take for constants.

torch.export traces sizes as symbols, and follows their arithmetic: ``math.ceil(height / 2) * 2`` is still one.
But Python's ``int`` must give a number, so ``int(…)`` around it asks for the one of the example, and the graph
holds for that alone. Models have it everywhere, for safety's sake. So it is noticed where it happens, and
there, for the time of a second capture, the names ``int`` and ``float`` mean torch's own conversions, which
keep the symbol.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

TORCH = os.path.dirname(torch.__file__) + os.sep


@dataclass(slots=True)
class Places:
    """Where sizes were turned into numbers."""

    lines: dict[str, None] = field(default_factory=dict)
    """``file:line``, in the order in which they were met."""

    namespaces: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The global names of the code at these lines, by their identity."""

    def clear(self) -> None:
        """Forget them, so that the names keep their meaning there."""
        self.lines.clear()
        self.namespaces.clear()

    def note(self, frame: FrameType | None) -> None:
        """Note a conversion: the frame is the one that asked for it, or torch's on the way."""
        while frame is not None and frame.f_code.co_filename == torch.__file__:
            frame = frame.f_back
        # torch's own code knows what it does.
        if frame is None or frame.f_code.co_filename.startswith(TORCH):
            return
        self.lines[f"{frame.f_code.co_filename}:{frame.f_lineno}"] = None
        self.namespaces[id(frame.f_globals)] = frame.f_globals


@contextmanager
def noticed(places: Places) -> Iterator[None]:
    """Note each symbol that becomes a number of Python's."""
    wrapped: list[tuple[type, str, Callable[[Any], Any]]] = []
    for kind in (torch.SymInt, torch.SymFloat):
        for name in ("__int__", "__float__"):
            method = getattr(kind, name, None)
            if method is not None:
                wrapped.append((kind, name, method))
                setattr(kind, name, _noting(method, places))
    try:
        yield
    finally:
        for kind, name, method in wrapped:
            setattr(kind, name, method)


@contextmanager
def kept(places: Places) -> Iterator[None]:
    """Let the code at `places` keep symbols where it says ``int`` or ``float``."""
    names = {"int": _Whole, "float": _Real}
    missing = object()
    before = [
        (namespace, name, namespace.get(name, missing))
        for namespace in places.namespaces.values()
        for name in names
    ]
    for namespace, name, _ in before:
        namespace[name] = names[name]
    try:
        yield
    finally:
        for namespace, name, value in before:
            if value is missing:
                del namespace[name]
            else:
                namespace[name] = value


def _noting(method: Callable[[Any], Any], places: Places) -> Callable[[Any], Any]:
    def convert(symbol: Any) -> Any:
        places.note(sys._getframe(1))
        return method(symbol)

    return convert


class _Alike(type):
    """The class of a stand-in: what is of the built-in type is of this one."""

    stands_for: type

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.stands_for)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.stands_for)


class _Whole(builtins.int, metaclass=_Alike):
    stands_for = builtins.int

    def __new__(cls, *values: Any, **options: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], torch.SymInt | torch.SymFloat):
            return torch.sym_int(values[0])
        return builtins.int(*values, **options)


class _Real(builtins.float, metaclass=_Alike):
    stands_for = builtins.float

    def __new__(cls, *values: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], torch.SymInt | torch.SymFloat):
            return torch.sym_float(values[0])
        return builtins.float(*values)
