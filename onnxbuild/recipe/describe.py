"""What the dataclasses of a recipe say of themselves: fields, types with marks, documentation."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin

from onnxbuild.recipe.mistakes import KeyPath

HIDDEN = frozenset({("Recipe", "folder")})
"""Fields that are no keys of a recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key of a section."""

    key: str
    hint: Any
    """Its type, with the marks of `Annotated`."""
    required: bool
    default: Any
    """None where it is required."""


@cache
def fields_of(cls: type) -> Mapping[str, Field]:
    """Give the keys of a section in order, by name."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {}
    for field in dataclasses.fields(cls):
        if (cls.__name__, field.name) in HIDDEN:
            continue
        required = field.default is dataclasses.MISSING and (
            field.default_factory is dataclasses.MISSING
        )
        default = None if required or callable(field.default) else field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        key = field.name.removesuffix("_")
        found[key] = Field(key=key, hint=hints[field.name], required=required, default=default)
    return found


@cache
def docs_of(cls: type) -> Mapping[str, str]:
    """Give the docstring under each field of a class and its bases, by key."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                doc = inspect.cleandoc(str(text.value.value))
                found[field.target.id.removesuffix("_")] = " ".join(doc.split())
    return found


def marked(cls: type, value: Any, path: KeyPath) -> Iterator[tuple[str, KeyPath, str]]:
    """Give all text of a section whose type is marked (``entry``, ``path``, ``data``, ``stage``)."""
    if not isinstance(value, Mapping):
        return
    for key, field in fields_of(cls).items():
        if key in value:
            yield from _marked(field.hint, value[key], (*path, key))


def _marked(hint: Any, value: Any, path: KeyPath) -> Iterator[tuple[str, KeyPath, str]]:
    origin = get_origin(hint)
    if origin is typing.Annotated:
        base, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, str) and isinstance(value, str):
                yield mark, path, value
        yield from _marked(base, value, path)
    elif origin in {Union, types.UnionType}:
        for option in get_args(hint):
            yield from _marked(option, value, path)
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield from marked(hint, value, path)
    elif origin in {tuple, list} and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _marked(get_args(hint)[0], item, (*path, str(index)))
    elif origin is not None and isinstance(value, Mapping) and len(get_args(hint)) == 2:  # noqa: PLR2004
        for key, item in value.items():
            yield from _marked(get_args(hint)[1], item, (*path, str(key)))


def accepts_none(hint: Any) -> bool:
    """Tell whether a type has None among its values."""
    if hint is Any or hint is None or hint is type(None):
        return True
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return accepts_none(get_args(hint)[0])
    if origin in {Union, types.UnionType}:
        return any(accepts_none(option) for option in get_args(hint))
    return False
