"""Tables that a model fills when it is called, as large as the sizes that it has seen.

Rotary embeddings and positions are often computed at the first call, kept, and computed anew when a longer
input comes. An exporter would find the table of the example and take its length for a constant. So a model that
fills a table is called once at the largest sizes before it is exported: what it then takes of the table is a
part, of a size that stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

State = list[tuple[nn.Module, dict[str, Any], dict[str, Any]]]
Outputs = Mapping[str, np.ndarray[Any, Any]]


def fill_tables(
    adapter: Adapter, call: Callable[[], Outputs], trace: Outputs, work: Work, target: Target
) -> Outputs:
    """Give what `call` gives, the model's outputs for the traced sample, and leave the tables that it fills as large as any sample needs.

    Tables on whose length the results depend stay as they are. What was filled is in the step's notes.
    """
    before = _state(adapter.model)
    given = call()
    tables = _filled(adapter.model, before)
    if not tables:
        return given
    most = max(range(len(target.shapes)), key=lambda at: sum(target.shapes[at]["sizes"].values()))
    small = _state(adapter.model)
    try:
        adapter.predict(read_item(work.input("samples"), most))
        again = adapter.predict(trace)
    except ModelError as error:
        say(f"the model cannot be called at its largest sizes after a small one: {error}")
        again = {}
    if again.keys() != given.keys() or not all(_same(again[name], given[name]) for name in given):
        _restore(small)
        return given
    grown = [name for name in _filled(adapter.model, small) if name in tables]
    if grown:
        sizes = ", ".join(f"{dim} {size}" for dim, size in target.shapes[most]["sizes"].items())
        say(f"filled for the largest sizes ({sizes}), and no larger: {', '.join(grown)}")
        work.notes["tables"] = {"filled": grown, "up_to": dict(target.shapes[most]["sizes"])}
    return given


def _state(model: nn.Module) -> State:
    """Give what each module holds by itself, the buffers apart."""
    return [
        (child, {**vars(child)}, dict(child._buffers))
        for child in model.modules()
        if not isinstance(child, torch.jit.ScriptModule)
    ]


def _restore(state: State) -> None:
    for child, attributes, buffers in state:
        # The dicts of children and tensors are shared with the module that is exported.
        child._buffers.clear()
        child._buffers.update(buffers)
        for name in set(vars(child)) - set(attributes):
            del child.__dict__[name]
        child.__dict__.update(attributes)


def _filled(model: nn.Module, before: State) -> list[str]:
    """Name the tensors that modules hold now, and held otherwise or not at all."""
    paths = {id(child): path for path, child in model.named_modules()}
    found = []
    for child, attributes, buffers in before:
        for then, now in ((attributes, vars(child)), (buffers, child._buffers)):
            for name, value in now.items():
                old = then.get(name)
                if not isinstance(value, torch.Tensor) or value is old:
                    continue
                if not isinstance(old, torch.Tensor) or old.shape != value.shape:
                    found.append(f"{paths.get(id(child), '')}.{name}".lstrip("."))
    return found


def _same(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    # Wide enough for every type that there is, of 16 bits and complex ones.
    pair = found.astype(np.complex128), wanted.astype(np.complex128)
    return found.shape == wanted.shape and bool(
        np.allclose(*pair, rtol=1e-3, atol=1e-5, equal_nan=True)
    )
