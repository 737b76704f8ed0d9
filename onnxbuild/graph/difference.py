"""The first difference between two ONNX files, in words: for a step that gave two models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import onnx

from onnxbuild.arrays import tell_difference
from onnxbuild.core.excerpts import LONGEST, cut_around


def find_difference(left: str, right: str) -> str:
    """Say where the models at two paths differ first, in the order of ONNX's fields; empty if nowhere.

    Nodes, weights and metadata are told by place and name; of weights that differ, by how much.
    """
    folders = tuple(os.path.dirname(path) for path in (left, right))
    before, after = (onnx.load(path, load_external_data=False) for path in (left, right))
    return _message("", before, after, folders)


def _message(place: str, before: Any, after: Any, folders: Sequence[str]) -> str:
    """Compare two messages of one type, field by field."""
    if isinstance(before, onnx.TensorProto) and _is_same_kind(before, after):
        arrays = [
            onnx.numpy_helper.to_array(tensor, base_dir=folder)
            for tensor, folder in zip((before, after), folders, strict=True)
        ]
        found = tell_difference(*arrays)
        if found:
            return f"{place}: {found}"
    for field in before.DESCRIPTOR.fields:
        one, other = getattr(before, field.name), getattr(after, field.name)
        if one == other:
            continue
        inside = f"{place}.{field.name}".lstrip(".")
        if field.message_type is None:
            told = cut_around(_write(one), _write(other))
            return f"{inside}: {told[0]} the first time, {told[1]} the second"
        if not field.is_repeated:
            return _message(inside, one, other, folders)
        return _items(inside, one, other, folders)
    return ""


def _items(place: str, before: Sequence[Any], after: Sequence[Any], folders: Sequence[str]) -> str:
    for index, (one, other) in enumerate(zip(before, after, strict=False)):
        if one != other:
            return _message(f"{place}[{index}]{_name(one)}", one, other, folders)
    more = (before if len(before) > len(after) else after)[min(len(before), len(after))]
    return f"{place}: {len(before)} the first time, {len(after)} the second, as{_name(more)} is one more"


def _is_same_kind(before: Any, after: Any) -> bool:
    return (before.name, before.data_type, list(before.dims)) == (
        after.name,
        after.data_type,
        list(after.dims),
    )


def _name(item: Any) -> str:
    """Name an item of a list as the model names it."""
    names = (getattr(item, name, "") for name in ("name", "key", "domain"))
    name = next(filter(None, names), "")[:LONGEST]
    kind = getattr(item, "op_type", "")
    return "".join(f" {text}" for text in (kind, f"{name!r}" if name else "") if text)


def _write(value: Any) -> str:
    is_list = hasattr(value, "__len__") and not isinstance(value, str | bytes)
    return repr(list(value) if is_list else value)
