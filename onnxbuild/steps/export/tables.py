"""Tables that a model fills when it is called, as large as the sizes that it has seen.

Rotary embeddings and positions are often computed at the first call, kept, and computed anew when a longer
input comes. An exporter would find the table of the example and take its length for a constant. So a model that
fills a table is called once at the largest sizes before it is exported: what it then takes of the table is a
part, of a size that stays open. A table that is made anew whenever the sizes are others, as detectors keep their
grids, is taken away again, so that what makes it gets into the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from onnxbuild.arrays import read_item
from onnxbuild.core.ports import Work
from onnxbuild.errors import ModelError
from onnxbuild.steps.export.target import Target
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.user import say

Outputs = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Held:
    """What a module held by itself at some time."""

    child: nn.Module
    attributes: dict[str, Any]
    buffers: dict[str, Any]
    containers: list[tuple[list[Any] | dict[Any, Any], list[Any] | dict[Any, Any]]]
    """Lists and dicts among the attributes, each with a copy."""

    tensors: dict[str, torch.Tensor]
    """All tensors among these, but not the parameters."""

    def restore(self) -> None:
        """Have the module hold that again."""
        # The dicts of children and tensors are shared with the module that is exported.
        self.child._buffers.clear()
        self.child._buffers.update(self.buffers)
        for name in set(vars(self.child)) - set(self.attributes):
            del self.child.__dict__[name]
        self.child.__dict__.update(self.attributes)
        for container, copy in self.containers:
            container.clear()
            container.extend(copy) if isinstance(container, list) else container.update(copy)


State = list[Held]

OWN = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def fill_tables(
    adapter: Adapter, call: Callable[[], Outputs], trace: Outputs, work: Work, target: Target
) -> Outputs:
    """Give what `call` gives, the model's outputs for the traced sample, and leave the tables that it fills as large as any sample needs.

    Tables on whose length the results depend stay as they are; those that every other size replaces are taken
    away. What was filled is in the step's notes.
    """
    before = _state(adapter.model)
    given = call()
    tables = _filled(adapter.model, before)
    if not tables:
        return given
    most = max(range(len(target.shapes)), key=lambda at: sum(target.shapes[at]["sizes"].values()))
    small = large = _state(adapter.model)
    try:
        adapter.predict(read_item(work.input("samples"), most))
        large = _state(adapter.model)
        again = adapter.predict(trace)
    except ModelError as error:
        say(f"the model cannot be called at its largest sizes after a small one: {error}")
        again = {}
    if again.keys() != given.keys() or not all(_same(again[name], given[name]) for name in given):
        _restore(small)
        return given
    replaced = _filled(adapter.model, large)
    grown = [
        name for name in _filled(adapter.model, small) if name in tables and name not in replaced
    ]
    if replaced:
        say(f"made anew for each size, and so not kept: {', '.join(replaced)}")
        holders = {held.child for held in replaced.values()}
        _restore([held for held in before if held.child in holders])
    if grown:
        sizes = ", ".join(f"{dim} {size}" for dim, size in target.shapes[most]["sizes"].items())
        say(f"filled for the largest sizes ({sizes}), and no larger: {', '.join(grown)}")
        work.notes["tables"] = {"filled": grown, "up_to": dict(target.shapes[most]["sizes"])}
    return given


@contextmanager
def unfilled(model: nn.Module) -> Iterator[None]:
    """Have `model` hold after the block what it held before: what a capture leaves behind is of no size."""
    before = _state(model)
    try:
        yield
    finally:
        _restore(before)


def _state(model: nn.Module) -> State:
    """Give what each module holds by itself."""
    return [
        _held(child) for child in model.modules() if not isinstance(child, torch.jit.ScriptModule)
    ]


def _held(child: nn.Module) -> Held:
    attributes, buffers = {**vars(child)}, dict(child._buffers)
    tensors = {name: value for name, value in buffers.items() if value is not None}
    containers: list[Any] = []
    for name, value in attributes.items():
        if name in OWN:
            continue
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif type(value) in {list, dict}:
            containers.append((value, value.copy()))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            tensors |= {f"{name}.{at}": it for at, it in items if isinstance(it, torch.Tensor)}
    return Held(child, attributes, buffers, containers, tensors)


def _restore(state: State) -> None:
    for held in state:
        held.restore()


def _filled(model: nn.Module, before: State) -> dict[str, Held]:
    """Name the tensors that modules hold now, and held otherwise or not at all, each with what held it."""
    paths = {id(child): path for path, child in model.named_modules()}
    found = {}
    for held in before:
        for name, value in _held(held.child).tensors.items():
            old = held.tensors.get(name)
            if value is not old and (old is None or old.shape != value.shape):
                found[f"{paths.get(id(held.child), '')}.{name}".lstrip(".")] = held
    return found


def _same(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    # Wide enough for every type that there is, of 16 bits and complex ones.
    pair = found.astype(np.complex128), wanted.astype(np.complex128)
    return found.shape == wanted.shape and bool(
        np.allclose(*pair, rtol=1e-3, atol=1e-5, equal_nan=True)
    )
