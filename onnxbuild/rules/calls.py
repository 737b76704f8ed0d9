"""Replace calls of functions of torch, wherever a model makes them: in its layers or in its own ``forward``.

The exporters trace by running the model's Python code. So a mode around the model's ``forward`` sees every
call of a function, and can answer with other functions that both exporters know at all sizes.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from onnxbuild.errors import ExportError
from onnxbuild.rules.surgery import evaluating, shown

Table = Mapping[Any, Callable[..., Any]]
"""By function of torch, another of the same parameters; it may return `NotImplemented` to have the call stay."""

TORCH = os.path.dirname(torch.__file__) + os.sep
OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Calls(TorchFunctionMode):  # type: ignore[misc]
    """Answers calls of the functions in a table with others."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = table

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, or what stands for it."""
        other = self.table.get(func)
        result = NotImplemented if other is None else other(*args, **(kwargs or {}))
        if result is NotImplemented:
            return func(*args, **(kwargs or {}))
        self.note(func)
        return result

    def note(self, func: Callable[..., Any]) -> None:
        """Take notice of a call that was replaced."""


class _Watch(Calls):
    """Notes besides in which modules the calls are."""

    def __init__(self, table: Table, names: Mapping[int, str]) -> None:
        super().__init__(table)
        self.names = names
        self.found: dict[str, None] = {}

    def note(self, func: Callable[..., Any]) -> None:
        """Note the innermost module that runs, and the user's line where the call is not that layer's own."""
        del func
        for frame in _frames():
            owner = self.names.get(id(frame.f_locals.get("self")))
            if owner is not None:
                is_layer = frame.f_code.co_filename.startswith(TORCH)
                self.found[shown(owner) if is_layer else f"{shown(owner)} ({_line(frame)})"] = None
                return
        self.found["(the model)"] = None


def replace_calls(
    model: nn.Module, table: Table, run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Have `model` call what stands in `table`; give it and the modules that do, none where it calls none.

    Raises `ExportError` for a compiled model, whose code is not Python.
    """
    names: dict[int, str] = {}
    for path, child in model.named_modules():
        names.setdefault(id(child), path)
    if any(isinstance(child, torch.jit.ScriptModule) for child in model.modules()):
        raise ExportError(
            "the model is compiled by torch.jit, so the functions that it calls cannot be replaced",
            where="replace",
            hint="export the model itself, before torch.jit.script or trace",
        )
    watch = _Watch(table, names)
    run_inside(model, lambda: watch, run)
    if watch.found:
        call_inside(model, lambda: Calls(table))
    return model, list(watch.found)


def run_inside(
    model: nn.Module,
    context: Callable[[], AbstractContextManager[object]],
    run: Callable[[nn.Module], object],
) -> None:
    """Run `model` once in eval mode with its ``forward`` in a context, which it is not afterwards, come what may."""
    # What an earlier rule put around it is the model's own to this one.
    earlier = vars(model).get("forward")
    call_inside(model, context)
    try:
        with evaluating(model):
            run(model)
    finally:
        del model.forward
        if earlier is not None:
            model.forward = earlier


def place() -> str:
    """Give the line of the user's that is running, as ``file:line in function: code``."""
    for frame in _frames():
        file = frame.f_code.co_filename
        if not file.startswith((TORCH, OWN, "<")):
            code = linecache.getline(file, frame.f_lineno).strip()
            return f"{_line(frame)} in {frame.f_code.co_name}: {code}"
    return "torch"


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.removeprefix(os.getcwd() + os.sep)}:{frame.f_lineno}"


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def call_inside(model: nn.Module, context: Callable[[], AbstractContextManager[object]]) -> None:
    """Have ``forward`` run in a context of its own whenever the model is called."""
    forward = model.forward

    @functools.wraps(forward)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with context():
            return forward(*args, **kwargs)

    model.forward = inside
