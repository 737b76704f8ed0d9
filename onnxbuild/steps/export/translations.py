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
    translate = entry.translate
    if not entry.only_missing:
        translate = _unless_left(translate, own)
    elif own is not None:
        translate = _first(own, translate)
    elif table.is_registered(entry.overload) or _is_composed(entry):
        return
    table.register_op(entry.overload, translate, is_complex=False)
    if not entry.only_missing:
        table.register_op(entry.overload, translate, is_complex=True)


def _unless_left(other: Callable[..., Any], usual: Callable[..., Any] | None) -> Callable[..., Any]:
    """Translate by something else than what torch has, but for the calls that it leaves."""

    def translate(*values: Any, **keywords: Any) -> Any:
        found = other(*values, **keywords)
        if found is not NotImplemented:
            return found
        if usual is None:
            raise ExportError(
                f"{other.__name__} leaves a call that dynamo cannot translate", where="replace"
            )
        return usual(*values, **keywords)

    translate.__name__ = other.__name__
    return translate


def _first(usual: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """Translate by what torch has, and where that fails by something else."""

    def translate(*values: Any, **keywords: Any) -> Any:
        from onnxscript import evaluator

        recorder = evaluator.default()
        written = len(recorder.nodes)
        try:
            return usual(*values, **keywords)
        except Exception as error:  # noqa: BLE001 - said, and what comes next may raise its own
            say(f"torch's own translation fails: {describe(error)}")
            # Constants are shared between the operators of a graph.
            kept = [node for node in recorder.nodes[written:] if node.op_type == "Constant"]
            recorder.nodes[written:] = kept
            return other(*values, **keywords)

    translate.__name__ = other.__name__
    return translate


def _is_composed(entry: Entry) -> bool:
    """True if torch takes an operator apart before it translates."""
    implicit = torch._C.DispatchKey.CompositeImplicitAutograd
    return entry.overload in torch._decomp.decomposition_table or bool(
        entry.overload.has_kernel_for_dispatch_key(implicit)
    )
