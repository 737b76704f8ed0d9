"""torch's table of translations from ATen to ONNX: made once for all exports of a process and its forks, and added to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from onnxbuild.errors import ExportError
from onnxbuild.steps.model.user import describe, say


class Entry(NamedTuple):
    """What translates one overload of torch's."""

    overload: Any
    translate: Callable[..., Any]
    """Writes the nodes, or gives NotImplemented for a call that it leaves."""
    only_missing: bool
    """Leave it to torch where its own translation works, or it takes the operator apart."""


_added: list[Entry] = []
"""What every table gets besides, inside of `added`."""


def keep_translations() -> None:
    """Have torch make the table once for each opset. Calling it again changes nothing.

    Measured with torch 2.13: each export makes it anew from the source of 500 functions, in 0.36 s, and
    what comes out is the same.
    """
    # It imports onnxscript, of which TorchScript needs nothing.
    from torch.onnx._internal.exporter import _registration

    registry: Any = getattr(_registration, "ONNXRegistry", None)
    make = getattr(registry, "from_torchlib", None)
    if make is None or hasattr(make, "__wrapped__"):
        return
    once = functools.cache(make)

    @functools.wraps(make)
    def from_torchlib(*args: Any, **options: Any) -> Any:
        whole = once(*args, **options)
        copy = registry()
        # A table may be added to, whoever asked for it.
        functions = {target: list(found) for target, found in whole.functions.items()}
        copy.__dict__.update(vars(whole) | {"functions": functions})
        for entry in _added:
            _add(copy, entry)
        return copy

    registry.from_torchlib = staticmethod(from_torchlib)


@contextmanager
def added(entries: Sequence[Entry]) -> Iterator[None]:
    """Have all tables that are made inside of the block translate some overloads otherwise."""
    before = list(_added)
    # The first that is given wins, and torch asks the last that was registered.
    _added.extend(reversed(entries))
    try:
        yield
    finally:
        _added[:] = before


def _add(table: Any, entry: Entry) -> None:
    usual = [item for item in table.get_decomps(entry.overload) if not item.is_complex]
    own = usual[0].onnx_function if usual else None
    if own is not None and entry.only_missing:
        translate = _first(own, entry.translate)
    elif entry.only_missing and (table.is_registered(entry.overload) or _is_composed(entry)):
        return
    else:
        translate = _unless_left(entry, own)
    table.register_op(entry.overload, translate, is_complex=False)
    if not entry.only_missing:
        table.register_op(entry.overload, translate, is_complex=True)


def _unless_left(entry: Entry, usual: Callable[..., Any] | None) -> Callable[..., Any]:
    """Translate by an entry, and what it leaves by what torch has. Raises `ExportError` where that is nothing."""

    def translate(*values: Any, **keywords: Any) -> Any:
        made = entry.translate(*values, **keywords)
        if made is not NotImplemented:
            return made
        if usual is None:
            raise ExportError(
                f"the rule for {entry.overload} does not translate this call of it", where="replace"
            )
        return usual(*values, **keywords)

    translate.__name__ = entry.translate.__name__
    return translate


def _first(usual: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """Translate by what torch has, and where that fails by something else."""

    def translate(*values: Any, **keywords: Any) -> Any:
        from onnxscript import evaluator

        recorder = evaluator.default()
        written = len(recorder.nodes)
        try:
            return usual(*values, **keywords)
        except Exception as error:
            say(f"torch's own translation fails: {describe(error)}")
            # Constants are shared between the operators of a graph.
            kept = [node for node in recorder.nodes[written:] if node.op_type == "Constant"]
            recorder.nodes[written:] = kept
            made = other(*values, **keywords)
            if made is NotImplemented:
                raise
            return made

    translate.__name__ = other.__name__
    return translate


def _is_composed(entry: Entry) -> bool:
    """True if torch takes an operator apart before it translates."""
    implicit = torch._C.DispatchKey.CompositeImplicitAutograd
    return entry.overload in torch._decomp.decomposition_table or bool(
        entry.overload.has_kernel_for_dispatch_key(implicit)
    )
