"""Between frozen dataclasses and plain JSON values.

`plain` writes a dataclass as JSON-able values; `build` reads one back by its type hints. A field
whose name ends in an underscore (``from_``, ``with_``) stands for the key without it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

T = TypeVar("T")

ORDERED = {"inputs": False, "kwargs": True, "options": True}
"""Keys of options under which the order of names counts, and whether it does at any depth: inputs have the order
of ``forward()``, and a user's callable may see in which order it gets what it is called with."""

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
"""A plain value."""


def plain(value: Any) -> Any:
    """Write `value` (dataclasses, mappings, sequences, scalars) as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name.removesuffix("_"): plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def list_orders(value: Any) -> list[list[str]]:
    """List the names of each mapping in plain options whose order counts; a key is blind to all others."""
    found: list[list[str]] = []
    open_ends: list[tuple[Any, bool, bool]] = [(value, False, False)]
    while open_ends:
        value, counts, counts_below = open_ends.pop()
        if isinstance(value, Mapping):
            if counts and len(value) > 1:
                found.append(list(value))
            # By name, so that one order of the mappings around them stands for all.
            for key in sorted(value):
                deep = counts_below or ORDERED.get(key, False)
                open_ends.append((value[key], deep or key in ORDERED, deep))
        elif isinstance(value, list | tuple):
            open_ends += [(item, counts_below, counts_below) for item in value]
    return found


@cache
def hints(cls: type) -> dict[str, Any]:
    """Give the resolved type of each field of a dataclass, by the key that it stands for."""
    resolved = typing.get_type_hints(cls)
    return {field.name.removesuffix("_"): resolved[field.name] for field in dataclasses.fields(cls)}


def build(cls: type[T], data: Mapping[str, Any]) -> T:
    """Read the dataclass `cls` from plain values. Raises `TypeError` for an unknown key."""
    names = {field.name.removesuffix("_"): field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = [key for key in data if key not in names]
    if unknown:
        msg = f"{cls.__name__} has no {', '.join(unknown)}"
        raise TypeError(msg)
    types_ = hints(cls)  # type: ignore[arg-type]
    return cls(**{names[key]: convert(types_[key], value) for key, value in data.items()})


def convert(hint: Any, value: Any) -> Any:
    """Convert a plain `value` to the type that `hint` says."""
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return convert(get_args(hint)[0], value)
    if value is None or origin is Literal:
        return value
    if origin in {Union, types.UnionType}:
        return _convert_union(get_args(hint), value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else build(hint, value)
    if origin in {tuple, list} and isinstance(value, list | tuple):
        return tuple(convert(get_args(hint)[0], item) for item in value)
    if origin is not None and isinstance(value, Mapping):
        item_hint = get_args(hint)[1]
        return {str(key): convert(item_hint, item) for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _convert_union(options: tuple[Any, ...], value: Any) -> Any:
    for option in options:
        is_section = dataclasses.is_dataclass(option)
        if isinstance(value, Mapping) and (is_section or get_origin(option) is Mapping):
            return convert(option, value)
        if isinstance(value, list | tuple) and get_origin(option) in {tuple, list}:
            return convert(option, value)
        if not is_section and option is type(value):
            return value
    return convert(float, value) if float in options else value
