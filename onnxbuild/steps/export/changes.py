"""What a model changes of itself when it is called: a graph changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def noticed(model: nn.Module) -> Iterator[list[str]]:
    """Give the names of the buffers and parameters that were written into, or replaced, meanwhile."""
    before = {name: (tensor, tensor._version) for name, tensor in _tensors(model)}
    changed: list[str] = []
    yield changed
    after = dict(_tensors(model))
    changed += [
        name
        for name, (tensor, version) in before.items()
        if tensor._version != version or after.get(name) is not tensor
    ]


def _tensors(model: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from model.named_buffers()
    yield from model.named_parameters()
