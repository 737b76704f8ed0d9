"""Whatever a model returns, as a flat list of named tensors.

The order is the one in which the model gives them: positions of tuples and lists, keys of mappings as
they were inserted, fields of dataclasses and named tuples as they are declared; nested ones in place.
``None`` is left out. A tensor's name is the keys on the way to it, joined by dots; a path that begins
with a position begins with ``output_`` and this; a single tensor is ``output``. Caches of transformers are as
in `caches`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import torch

from onnxbuild.errors import ModelError
from onnxbuild.steps.model.caches import flatten_cache, is_cache

Path: TypeAlias = tuple[str | int, ...]


def flatten(value: Any, path: Path = ()) -> Iterator[tuple[Path, torch.Tensor]]:
    """Give each tensor in `value` with the way to it. Raises `ModelError` for what is no tensor."""
    if value is None:
        return
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided:
            raise _refusal(path, "a sparse tensor")
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, (*path, str(key)))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key in value._fields:
            yield from flatten(getattr(value, key), (*path, key))
    elif isinstance(value, tuple | list):
        for position, item in enumerate(value):
            yield from flatten(item, (*path, position))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from flatten(getattr(value, field.name), (*path, field.name))
    # Last: dynamo's strict mode, which follows this too, cannot go through the bases of a class.
    elif is_cache(type(value)):
        for inner, tensor in flatten_cache(value):
            yield (*path, *inner), tensor
    else:
        raise _refusal(path, f"a {type(value).__name__}")


def name_outputs(paths: list[Path]) -> list[str]:
    """Name the tensors at `paths`, each name once."""
    names: list[str] = []
    for path in paths:
        first, *rest = path or ("output",)
        parts = [f"output_{first}" if isinstance(first, int) else first, *rest]
        base = name = ".".join(str(part) for part in parts)
        number = 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names


def _refusal(path: Path, found: str) -> ModelError:
    name = name_outputs([path])[0]
    return ModelError(
        f"the model's output {name!r} is {found}, and an ONNX graph gives tensors only",
        where="outputs",
        hint="wrap the model in a module that returns its tensors: `model.wrap: file.py:Module`",
    )
