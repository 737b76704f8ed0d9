"""The JSON Schema of a recipe, made from its dataclasses.

Two of them: the one that editors complete from, with all short forms, and the one that a composed recipe
is validated with, whose short forms are written out, so that every complaint has one meaning.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from onnxbuild.core.values import plain
from onnxbuild.recipe.building import CUSTOM_RULES, Registry
from onnxbuild.recipe.describe import docs_of, fields_of
from onnxbuild.recipe.schema import (
    DataEntry,
    Input,
    Limits,
    OutputUse,
    Recipe,
    StageUse,
    Weights,
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"

TYPES: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}

OUTPUTS: Any = tuple[str, ...] | Mapping[str, OutputUse | None] | None
"""What people write under ``outputs``."""

EXPAND: dict[str, Any] = {
    "type": "string",
    "description": "Names that this entry is written for, each after its own name and a dot: {0..3}.{key,value}.",
}

CONSTANT: dict[str, Any] = {
    "type": "object",
    "properties": {"value": {}},
    "required": ["value"],
    "additionalProperties": False,
    "description": "An argument of forward() that is no tensor; it is fixed in the graph.",
}


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """Give the schema of a recipe file as people write it, for editors."""
    writer = _Writer(short=True)
    properties = writer.properties(Recipe)
    properties["outputs"] = {**properties["outputs"], **writer.of(OUTPUTS)}
    properties["stages"] = _stages(writer, registry)
    properties["replace"] = _rules(writer, registry)
    properties["defaults"] = {
        "type": "array",
        "description": "Hydra's defaults list: other configs that this recipe is composed with.",
    }
    return {
        "$schema": DRAFT,
        "title": "onnxbuild recipe",
        "description": "What is wanted of a model; see `onnxbuild run`.",
        "type": "object",
        "properties": properties,
        "required": ["model"],
        "additionalProperties": False,
        "$defs": writer.definitions,
    }


def section_schema(cls: type, **others: Any) -> dict[str, Any]:
    """Give the schema of a section whose short forms are written out; `others` are further properties."""
    written = _Writer(short=False).section(cls)
    written["properties"] = {**others, **written["properties"]}
    return written


def composed_schema() -> dict[str, Any]:
    """Give the schema of a composed recipe. Stages and rules are left to `section_schema`."""
    written = section_schema(Recipe)
    entry = {"type": "object"}
    # What is a mapping still has something wrong in it.
    written["properties"]["outputs"] = _Writer(short=False).of(OUTPUTS)
    # What is left of these has something wrong with it, which has words of its own.
    written["properties"]["inputs"]["additionalProperties"]["properties"].update(
        {"expand": {"type": "string"}, "value": {}}
    )
    written["properties"]["stages"] = {"type": "object", "additionalProperties": entry}
    written["properties"]["replace"] = {"type": "object", "additionalProperties": entry}
    # The name is filled in from the file's.
    written["required"] = ["model"]
    return written


class _Writer:
    """Writes schemas; `short` ones refer to shared definitions and know the short forms."""

    def __init__(self, *, short: bool) -> None:
        self.short = short
        self.definitions: dict[str, Any] = {}

    def section(self, cls: type) -> dict[str, Any]:
        fields = fields_of(cls)
        written: dict[str, Any] = {
            "type": "object",
            "properties": self.properties(cls),
            "additionalProperties": False,
        }
        required = [field.key for field in fields.values() if field.required]
        if required:
            written["required"] = required
        return written

    def properties(self, cls: type) -> dict[str, Any]:
        docs = docs_of(cls) if self.short else {}
        written = {}
        for key, field in fields_of(cls).items():
            schema = dict(self.of(field.hint))
            if self.short:
                if key in docs:
                    schema["description"] = docs[key]
                if not field.required and field.default not in (None, (), {}):
                    default = plain(field.default)
                    if not isinstance(default, dict):
                        schema["default"] = default
            written[key] = schema
        return written

    def of(self, hint: Any) -> dict[str, Any]:
        origin = get_origin(hint)
        if origin is typing.Annotated:
            base, *marks = get_args(hint)
            limits = [mark for mark in marks if isinstance(mark, Limits)]
            return {**self.of(base), **(_limits(limits[0]) if limits else {})}
        if origin is Literal:
            return {"enum": list(get_args(hint))}
        if origin in {Union, types.UnionType}:
            return self.union(get_args(hint))
        if origin is tuple:
            return self.sequence(get_args(hint))
        if origin is list:
            return {"type": "array", "items": self.of(get_args(hint)[0])}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(get_args(hint)[1])}
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.reference(hint)
        if hint in {None, type(None)}:
            return {"type": "null"}
        return {"type": TYPES[hint]} if hint in TYPES else {}

    def sequence(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004
            return {"type": "array", "items": self.of(arguments[0])}
        items = [self.of(argument) for argument in arguments]
        return {
            "type": "array",
            "prefixItems": items,
            "minItems": len(items),
            "maxItems": len(items),
        }

    def union(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        options = [self.of(argument) for argument in arguments]
        typed = [option for option in options if option.get("type") not in {None, "null", "string"}]
        if typed:
            # Words beside numbers are texts of a pattern, which says nothing of numbers.
            options = [_words(option) if "enum" in option else option for option in options]
        # One schema where each keyword speaks of one type only: its complaints are plainer than anyOf's.
        kinds = [option.get("type") for option in options]
        if all(isinstance(kind, str) for kind in kinds) and len(set(kinds)) == len(kinds):
            merged: dict[str, Any] = {}
            for option in options:
                merged.update(option)
            if "number" in kinds and "integer" in kinds:
                kinds.remove("integer")
            return {**merged, "type": kinds}
        enums = [option for option in options if option.keys() == {"enum"}]
        if len(enums) + kinds.count("null") == len(options) and len(enums) == 1:
            return {"enum": [*enums[0]["enum"], None]}
        return {"anyOf": options}

    def reference(self, cls: type) -> dict[str, Any]:
        if not self.short:
            return self.section(cls)
        name = cls.__name__
        if name not in self.definitions:
            self.definitions[name] = {}
            section = self.section(cls)
            section["description"] = _first_line(cls)
            self.definitions[name] = self.with_short_form(cls, section)
        return {"$ref": f"#/$defs/{name}"}

    def with_short_form(self, cls: type, section: dict[str, Any]) -> dict[str, Any]:
        if cls is Input:
            section["properties"] = {**section["properties"], "expand": EXPAND}
            short = {**section["properties"]["shape"], "description": "Short for {shape: …}."}
            return {"anyOf": [section, short, CONSTANT]}
        if cls is Weights:
            short = {"type": "string", "description": "Short for {path: …}."}
        elif cls is DataEntry:
            short = {"type": "string", "description": "Short for {entry: …}, or {path: …}."}
        else:
            return section
        return {"anyOf": [section, short]}


def _words(option: dict[str, Any]) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^({'|'.join(option['enum'])})$"}


def _stages(writer: _Writer, registry: Registry) -> dict[str, Any]:
    docs = docs_of(StageUse)
    shared = {"from": {"type": "string", "description": docs["from"], "default": "export"}}
    names = [name for name in registry.names("stages") if name != "custom"]
    whole = _choice(writer, registry, "stages", "use", names, shared)
    whole["required"] = ["use"]
    short = {"anyOf": [{"enum": names}, _CALLABLE], "description": "Short for {use: …}."}
    return {
        "type": "object",
        "description": docs_of(Recipe)["stages"],
        "propertyNames": {"pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]*$"},
        "additionalProperties": {"anyOf": [whole, short]},
    }


def _rules(writer: _Writer, registry: Registry) -> dict[str, Any]:
    own = set(CUSTOM_RULES.values())
    names = [name for name in registry.names("rules") if name not in own]
    writer.definitions["rule"] = {
        **_choice(writer, registry, "rules", "rule", names, {}),
        "required": ["rule"],
    }
    whole = {"$ref": "#/$defs/rule"}
    properties = {}
    for name in names:
        properties[name] = {
            "anyOf": [
                {"$ref": f"#/$defs/rules.{name}"},
                {"type": "null"},
                whole,
            ]
        }
    by_keys = [
        {"$ref": f"#/$defs/rules.{name}"}
        for name in ("module", "operator", "pattern")
        if name in names
    ]
    return {
        "type": "object",
        "description": docs_of(Recipe)["replace"],
        "properties": properties,
        "additionalProperties": {"anyOf": [whole, *by_keys]},
    }


_CALLABLE = {"type": "string", "pattern": "^[^:]+:[^:]+$"}


def _choice(
    writer: _Writer,
    registry: Registry,
    table: str,
    key: str,
    names: list[str],
    shared: dict[str, Any],
) -> dict[str, Any]:
    """Write an object whose other keys depend on what `key` says."""
    cases = []
    for name in names:
        cls = registry.resolve(table, name)
        section = writer.section(cls)
        section["description"] = _first_line(cls)
        section["properties"] = {key: {"const": name}, **shared, **section["properties"]}
        writer.definitions[f"{table}.{name}"] = section
        said = {"properties": {key: {"const": name}}, "required": [key]}
        cases.append({"if": said, "then": {"$ref": f"#/$defs/{table}.{name}"}})
    description = f"One of {', '.join(names)}, or a callable of your own."
    return {
        "type": "object",
        "properties": {
            key: {"anyOf": [{"enum": names}, _CALLABLE], "description": description},
            **shared,
        },
        "allOf": cases,
    }


def _limits(limits: Limits) -> dict[str, Any]:
    written = {
        "minimum": limits.minimum,
        "maximum": limits.maximum,
        "pattern": limits.pattern,
    }
    return {key: value for key, value in written.items() if value is not None}


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
