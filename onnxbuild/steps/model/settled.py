"""Numbers that a module keeps from call to call: a graph keeps none, so each call begins with those of the loaded model.

Some models note in an attribute what they have found out about a size (Swin makes its windows smaller after a small
picture, for good), and give other results ever after. What they are held against must not depend on what was run before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def numbers_kept(model: nn.Module) -> Iterator[list[str]]:
    """Set numbers that modules change meanwhile back to what they were; give their names.

    A number beside a tensor that changes with it tells of that tensor, and stays; so does whatever is no number.
    """
    before = [
        (path, child, {**vars(child)}, _versions(child))
        for path, child in model.named_modules()
        if not isinstance(child, torch.jit.ScriptModule)
    ]
    changed: list[str] = []
    try:
        yield changed
    finally:
        for path, child, attributes, versions in before:
            now = vars(child)
            other = {
                name: value for name, value in attributes.items() if now.get(name) is not value
            }
            if not other or now.keys() != attributes.keys() or _versions(child) != versions:
                continue
            if all(type(value) in {int, float} for value in other.values()):
                changed += [
                    f"{path}.{name}".lstrip(".")
                    for name, value in other.items()
                    if type(now[name]) is not type(value) or now[name] != value
                ]
                now.update(other)


def _versions(module: nn.Module) -> list[tuple[str, int, int]]:
    """Tell the tensors that a module holds by itself apart, and how often they were written into."""
    held: dict[str, Any] = {**module._parameters, **module._buffers, **vars(module)}
    return [
        (name, id(value), value._version)
        for name, value in held.items()
        if isinstance(value, torch.Tensor) and not value.is_inference()
    ]
