"""Documentation of stages and rules, written from their classes: the same fields give schema and keys."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from onnxbuild import registry
from onnxbuild.cli.wrapping import first_line, prose, wrap
from onnxbuild.recipe.describe import Field, docs_of, fields_of
from onnxbuild.recipe.rule import LEVELS, Rule
from onnxbuild.recipe.schema import Limits

MARKS = {
    "entry": "path/file.py:name or package.module:name",
    "path": "path from the recipe's folder",
    "data": "name of an entry of `data:`",
    "stage": "name of a stage, or `export`",
}
"""What the marks of `Annotated` text mean to people."""

SAMPLES = {
    ("module", "module"): "model.py:Swish",
    ("module", "with"): "torch.nn.SiLU",
    ("operator", "operator"): "mylib::gelu",
    ("operator", "with"): "ops.py:gelu",
    ("pattern", "pattern"): "fusions.py:rules",
    ("custom", "function"): "tools.py:function",
    ("fix_dims", "dims"): "{batch: 1}",
    ("custom_graph", "function"): "tools.py:function",
    ("custom_operator", "function"): "tools.py:function",
    ("", "data"): "calibration",
}
"""Values for required options in examples, by name of the stage or rule (or any) and of the option."""


def list_all(table: str) -> str:
    """Write all stages, or of all rules, with the first line of what each says of itself."""
    names = registry.names(table)
    width = max(map(len, names)) + 4
    found = {name: registry.resolve(table, name) for name in names}
    levels = [cls.level for cls in found.values() if issubclass(cls, Rule)]
    level_width = max(map(len, levels), default=-2) + 2
    lines = []
    for name, cls in found.items():
        level = cls.level if issubclass(cls, Rule) else ""
        head = f"  {name}".ljust(width) + level.ljust(level_width)
        said = wrap(first_line(cls.__doc__ or ""), " " * len(head))
        lines.append(head + said[len(head) :])
    return "\n".join(lines)


def document(table: str, name: str) -> str:
    """Write all there is to know of one stage or rule. Raises `UsageError` when there is none of that name."""
    cls = registry.resolve(table, name)
    parts = [name, prose(cls.__doc__ or "", "  ")]
    if issubclass(cls, Rule):
        parts.append(f"  It works {LEVELS[cls.level]}.")
    fields = fields_of(cls)
    docs = docs_of(cls)
    parts.append("options:" if fields else "It has no options.")
    ordered = sorted(fields.values(), key=lambda field: not field.required)
    parts += ["\n".join(_option(field, docs.get(field.key, ""))) for field in ordered]
    parts.append(f"example:\n{example(table, name)}")
    return "\n\n".join(parts)


def example(table: str, name: str) -> str:
    """Write a use of a stage or rule in a recipe, with values for what it requires."""
    fields = fields_of(registry.resolve(table, name)).values()
    values = {field.key: _sample(name, field) for field in fields if field.required}
    if table == "stages":
        given = "".join(f", {key}: {value}" for key, value in values.items())
        return f"  stages:\n    my_{name}: {{use: {name}{given}}}"
    if not values:
        return f"  replace:\n    {name}: {{}}"
    if "function" in values:
        level = registry.resolve(table, name).level
        by_level = "" if level == "module" else f", level: {level}"
        return f"  replace:\n    my_rule: {{rule: '{values['function']}'{by_level}}}"
    given = "".join(f", {key}: {value}" for key, value in values.items())
    return f"  replace:\n    my_{name}: {{rule: {name}{given}}}"


def _sample(name: str, field: Field) -> str:
    return SAMPLES.get((name, field.key)) or SAMPLES.get(("", field.key)) or "…"


def _option(field: Field, doc: str) -> Iterator[str]:
    given = "required" if field.required else f"default {show(field.default)}"
    head = f"  {field.key}: {say_type(field.hint)}; {given}"
    # A long list of names is broken like prose.
    yield head if len(head) <= 80 else wrap(head, "    ").replace("    ", "  ", 1)  # noqa: PLR2004 - columns
    if doc:
        yield prose(doc, "      ")


def show(value: Any) -> str:
    """Write a default as YAML does in one line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    return str(value)


def say_type(hint: Any) -> str:
    """Say in words which values a type has."""
    origin = get_origin(hint)
    if origin is typing.Annotated:
        base, *marks = get_args(hint)
        named = [MARKS[mark] for mark in marks if isinstance(mark, str) and mark in MARKS]
        limits = [text for mark in marks if isinstance(mark, Limits) for text in _limits(mark)]
        return " ".join([named[0] if named else say_type(base), *limits])
    if origin is Literal:
        return " | ".join(show(item) for item in get_args(hint))
    if origin in {Union, types.UnionType}:
        return " or ".join(say_type(item) for item in get_args(hint) if item is not type(None))
    if origin in {tuple, list}:
        items = get_args(hint)
        if len(items) == 2 and items[1] is not Ellipsis:  # noqa: PLR2004 - a pair
            return "[" + ", ".join(say_type(item) for item in items) + "]"
        return (
            f"list of ({say_type(items[0])})"
            if " " in say_type(items[0])
            else f"list of {say_type(items[0])}"
        )
    if origin is not None:
        return f"mapping to {say_type(get_args(hint)[1])}"
    if dataclasses.is_dataclass(hint):
        return "section of " + ", ".join(fields_of(typing.cast("type", hint)))
    return {bool: "true | false", int: "integer", float: "number", str: "text"}.get(
        hint, "anything"
    )


def _limits(limits: Limits) -> Iterator[str]:
    if limits.minimum is not None:
        yield f">= {limits.minimum:g}"
    if limits.maximum is not None:
        yield f"<= {limits.maximum:g}"
