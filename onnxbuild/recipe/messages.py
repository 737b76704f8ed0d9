"""What the JSON Schema finds wrong, in the words of the recipe."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_origin

from onnxbuild.core.quantities import WRITTEN
from onnxbuild.recipe.building import (
    CUSTOM,
    CUSTOM_RULES,
    Registry,
    is_callable_name,
    rule_class,
    stage_class,
)
from onnxbuild.recipe.describe import fields_of
from onnxbuild.recipe.jsonschema import composed_schema, section_schema
from onnxbuild.recipe.mistakes import KeyPath, Mistake, did_you_mean, dotted
from onnxbuild.recipe.opsets import opset_words
from onnxbuild.recipe.rule import Rule
from onnxbuild.recipe.schema import Recipe
from onnxbuild.recipe.sources import Sources

NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}

TORCH = {
    "opset_version": "`opset_version` is `opset`, under `export:`",
    "do_constant_folding": "`do_constant_folding` is `constant_folding`, under `export:`",
    "input_names": "`input_names` are the keys of `inputs:`",
    "output_names": "`output_names` is `outputs:`, a list of names",
    "dynamic_shapes": "`dynamic_shapes` is `dynamic_axes:`, an axis -> dimension name for each input",
    "dynamo": "`dynamo: true` is `exporter: dynamo`, and false is `exporter: torchscript`, under `export:`",
    "args": "`args` are `inputs:`, each with its shape; they are made when they are needed",
    "example_inputs": "`example_inputs` are `inputs:`, each with its shape",
    "f": "`f` is not needed: models go to artifacts/<recipe>/<variant>/model.onnx",
    "training": "a model is always exported in eval mode",
    "fallback": "`fallback: true` is `exporter: auto`, under `export:`",
    "external_data_format": "`external_data_format` is `external_data: always`, under `export:`",
    "use_external_data_format": "`use_external_data_format` is `external_data: always`, under `export:`",
    "checkpoint": "a checkpoint is `weights:`, under `model:`",
    "state_dict": "a state dict is `weights:`, under `model:`",
    "optimize": "to optimize is a stage: `stages: {slim: onnxoptimizer}`",
    "fp16": "half precision is a stage: `stages: {fp16: float16}`",
    "int8": "int8 is a stage: `stages: {int8: quantize_dynamic}`",
    "hydra": "a recipe cannot configure Hydra itself",
    "env": "an environment is chosen with env=ci on the command line, or in `defaults: [{env: ci}]`",
    "passes": "passes are an option of the stage onnxoptimizer",
    "rename": "give the names you want in `inputs:` and `outputs:`",
}
"""Keys that people know from torch.onnx.export and from scripts, and what they are called here."""

EXAMPLES = {
    "model": "as in model: {entry: path/file.py:function}",
    "inputs": "as in inputs: {x: {shape: [batch, 3]}}",
    "dynamic_axes": "as in dynamic_axes: {x: {0: batch}}",
    "dims": "as in dims: {batch: {min: 1, max: 8}}",
    "export": "as in export: {opset: 18}",
    "target": 'as in target: {onnxruntime: "1.16"}',
    "replace": "as in replace: {sync_batchnorm: {}}",
    "data": "as in data: {calibration: path/data.py:function}",
    "stages": "as in stages: {slim: onnxoptimizer, fp16: {use: float16, from: slim}}",
    "verify": "as in verify: {fp16: {scaled: 1e-2}}",
}
"""Sections as they are, for those who wrote them otherwise."""

VALUES = {
    "float": "float32",
    "float32": "float32",
    "half": "float16",
    "fp16": "float16",
    "fp32": "float32",
    "double": "float64",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "byte": "uint8",
    "true": "dynamo",
    "script": "torchscript",
    "jit": "torchscript",
    "MinMax": "minmax",
}


def schema_mistakes(
    data: Mapping[str, Any], sources: Sources, registry: Registry
) -> Iterator[Mistake]:
    """Validate a completed recipe, its stages and its rules."""
    whole = _validator(composed_schema)
    yield from _Translation(sources).mistakes(whole, data, ())
    stages, rules = data.get("stages"), data.get("replace")
    for name, stage in (stages if isinstance(stages, Mapping) else {}).items():
        if isinstance(stage, Mapping):
            yield from _stage_mistakes(name, stage, data, sources, registry)
    for name, rule in (rules if isinstance(rules, Mapping) else {}).items():
        if isinstance(rule, Mapping):
            yield from _rule_mistakes(name, rule, sources, registry)


@cache
def _validator(make: Callable[[], dict[str, Any]]) -> Any:
    from jsonschema import Draft202012Validator, validators

    # JSON knows no difference between 2 and 2.0; a shape does.
    whole = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict: Any = validators.extend(Draft202012Validator, type_checker=whole)  # type: ignore[no-untyped-call]
    return strict(make())


_sections: dict[tuple[type, str], Any] = {}


def _section_validator(cls: type, key: str) -> Any:
    if (cls, key) not in _sections:
        others: dict[str, Any] = {key: {"type": "string"}}
        if key == "use":
            others["from"] = {"type": "string"}
        _sections[cls, key] = _validator.__wrapped__(lambda: section_schema(cls, **others))
    return _sections[cls, key]


def _stage_mistakes(
    name: str,
    stage: Mapping[str, Any],
    data: Mapping[str, Any],
    sources: Sources,
    registry: Registry,
) -> Iterator[Mistake]:
    path = ("stages", name)
    use = stage.get("use")
    if use is None:
        stages = data.get("stages")
        known = [
            other
            for other, said in (stages.items() if isinstance(stages, Mapping) else ())
            if isinstance(said, Mapping) and "use" in said
        ]
        from_override = bool((place := sources.place(path)) and not place.source)
        yield Mistake(
            f"there is no stage {name!r}"
            if from_override
            else f"`{dotted(path)}` does not say what it is",
            place=sources.place(path, "key"),
            hint=did_you_mean(name, known)
            if from_override
            else f"add `use:`; there are: {', '.join(_public(registry, 'stages'))}",
            path=path,
        )
        return
    cls = stage_class(stage, registry)
    if cls is None:
        yield Mistake(
            f"there is no stage named {use!r}",
            place=sources.place((*path, "use")),
            hint=did_you_mean(str(use), _public(registry, "stages"))
            or "a stage of your own is `use: path/file.py:function`",
            path=(*path, "use"),
        )
        return
    if is_callable_name(use):
        return
    words = _Translation(sources, what=f"the stage {use}", cls=cls, data=data)
    yield from words.mistakes(_section_validator(cls, "use"), stage, path)


def _rule_mistakes(
    name: str, rule: Mapping[str, Any], sources: Sources, registry: Registry
) -> Iterator[Mistake]:
    path = ("replace", name)
    cls = rule_class(rule, registry)
    if cls is None:
        by_key = not sources.given((*path, "rule"))
        yield Mistake(
            f"there is no rule named {rule.get('rule')!r}",
            place=sources.place(path, "key") if by_key else sources.place((*path, "rule")),
            hint=(
                did_you_mean(str(rule.get("rule")), _public(registry, "rules"))
                or "`onnxbuild rules` lists them."
            )
            + (" Else say `rule:` under it, or `module:` and `with:`" if by_key else ""),
            path=(*path, "rule"),
        )
        return
    if is_callable_name(rule.get("rule")):
        return
    words = _Translation(sources, what=f"the rule {rule.get('rule')}", cls=cls)
    yield from words.mistakes(_section_validator(cls, "rule"), rule, path)


def _public(registry: Registry, table: str) -> list[str]:
    own = {CUSTOM, *CUSTOM_RULES.values()}
    return [name for name in registry.names(table) if name not in own]


class _Translation:
    """Turns the complaints of jsonschema into mistakes."""

    def __init__(
        self,
        sources: Sources,
        *,
        what: str = "a recipe",
        cls: type = Recipe,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.sources = sources
        self.what = what
        self.cls = cls
        self.data = data or {}

    def mistakes(self, validator: Any, instance: Any, prefix: KeyPath) -> Iterator[Mistake]:
        for error in validator.iter_errors(instance):
            inner = tuple(map(str, error.absolute_path))
            path = (*prefix, *inner)
            section = f"`{dotted(path)}`" if inner or not prefix else self.what
            section = self.what if not path else section
            match error.validator:
                case "additionalProperties":
                    yield from self.unknown(error, path, section)
                case "required":
                    yield from self.missing(error, path, inner, section)
                case _:
                    yield self.wrong(error, path)

    def unknown(self, error: Any, path: KeyPath, section: str) -> Iterator[Mistake]:
        known = error.schema.get("properties", {})
        for key in error.instance:
            if key in known:
                continue
            at = (*path, key)
            place = self.sources.place(at, "key")
            groups = self.sources.groups if not path and place and not place.source else ()
            yield Mistake(
                f"{section} has no key {key!r}",
                place=place,
                hint=_unknown_hint(key, [*known, *groups], path),
                path=at,
            )

    def missing(self, error: Any, path: KeyPath, inner: KeyPath, section: str) -> Iterator[Mistake]:
        for key in error.validator_value:
            if key in error.instance:
                continue
            hint = ""
            what = f"{section} needs `{key}`"
            if not path:
                what, hint = f"{section} needs `{key}:`", "model: {entry: path/file.py:function}"
            elif not inner and _is_data(self.cls, key):
                what = f"`{dotted(path)}` needs `{key}`: an entry of `data:`"
                names = self.data.get("data")
                hint = (
                    did_you_mean("", names)
                    if isinstance(names, Mapping) and names
                    else "say where representative inputs come from: "
                    "`data: {calibration: path/data.py:function}`"
                )
            yield Mistake(what, place=self.sources.place(path, "key"), hint=hint, path=(*path, key))

    def wrong(self, error: Any, path: KeyPath) -> Mistake:
        value, wanted = error.instance, error.validator_value
        name = f"`{dotted(path)}`" if path else self.what
        hint = ""
        match error.validator:
            case "type":
                kinds = wanted if isinstance(wanted, list) else [wanted]
                expected = _either([NAMES[kind] for kind in kinds if kind != "null"])
                what = f"{name} must be {expected}, not {describe(value)}"
                hint = _type_hint(kinds, value) or self.text_hint(kinds, value, path)
                if not hint and "object" in kinds and len(path) <= 2:  # noqa: PLR2004 - a section's items
                    hint = EXAMPLES.get(path[0] if path else "", "")
            case "enum":
                options = [str(option) for option in wanted if option is not None]
                text = str(value).removeprefix("torch.")
                mapped = VALUES.get(text) or text
                hint = f"did you mean {mapped!r}?" if mapped in options else ""
                hint = hint or did_you_mean(text, options)
                what = f"{name} cannot be {describe(value)}"
                if ("did you mean" in hint or not hint) and len(options) <= 16:  # noqa: PLR2004
                    shown = ", ".join(options)
                    hint = f"{hint} It takes {shown}" if hint else f"it takes {shown}"
            case "minimum":
                what = f"{name} must be at least {wanted}, not {describe(value)}"
            case "maximum":
                what = f"{name} must be at most {wanted}, not {describe(value)}"
            case "minItems" | "maxItems":
                what = f"{name} must have {wanted} items, not {len(value)}"
            case "pattern" if wanted in WRITTEN:
                what = f"{name} cannot be {describe(value)}"
                hint = f"write it as {WRITTEN[wanted]}"
            case "pattern":
                what = f"{name} cannot be {describe(value)}"
                hint = "letters, digits, dots, dashes and underscores; it begins with a letter or a digit"
                if path == ("name",) and not self.sources.given(path):
                    hint = f"it is the file's name; give the recipe a `name:` of {hint}"
            case _:
                what = f"{name}: {error.message}"
        if path == ("export", "opset"):
            what, hint = opset_words(value, self.sources.place(path), what, hint)
        return Mistake(what, place=self.sources.place(path), hint=hint, path=path)

    def text_hint(self, kinds: list[str], value: Any, path: KeyPath) -> str:
        """Say how to write as text what looks like a number, or like true and false."""
        if set(kinds) - {"null"} != {"string"} or not isinstance(value, int | float):
            return ""
        place = self.sources.place(path)
        if place is None or place.source:
            return "put it in quotes"
        return f"quotes that the shell leaves: \"{dotted(path)}='{describe(value)}'\""


def describe(value: Any) -> str:
    """Name a value as people would."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case str():
            return f"the text {_shorten(value)!r}"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return "a mapping"
        case _:
            return f"{value}"


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"  # noqa: PLR2004 - a glance


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _type_hint(kinds: list[str], value: Any) -> str:
    if "boolean" in kinds and isinstance(value, str):
        if value.lower() in {"yes", "no", "on", "off", "y", "n"}:
            meant = "true" if value.lower() in {"yes", "on", "y"} else "false"
            return f"YAML 1.2 knows only true and false; write {meant}"
        return ""
    if "integer" in kinds and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if {"integer", "number"} & set(kinds) and isinstance(value, str):
        return "leave the quotes out" if value.replace(".", "", 1).isdigit() else ""
    if "array" in kinds and isinstance(value, str | int | float):
        return f"write [{value}]"
    return ""


def _unknown_hint(key: str, known: list[str], path: KeyPath) -> str:
    if key in TORCH:
        return TORCH[key]
    near = did_you_mean(key, known)
    if near.startswith("did you mean"):
        return near
    homes = [section for section in _homes().get(key, ()) if section != path[:1]]
    if homes:
        where = " or ".join(
            f"under `{dotted(home)}:`" if home else "at the top of a recipe" for home in homes
        )
        return f"`{key}` belongs {where}"
    return near


@cache
def _homes() -> dict[str, tuple[KeyPath, ...]]:
    """Give the sections in which each key is known."""
    homes: dict[str, tuple[KeyPath, ...]] = {}
    for key, field in fields_of(Recipe).items():
        homes[key] = (*homes.get(key, ()), ())
        if dataclasses.is_dataclass(field.hint) and isinstance(field.hint, type):
            for inner in fields_of(field.hint):
                homes[inner] = (*homes.get(inner, ()), (key,))
    return homes


def _is_data(cls: type, key: str) -> bool:
    field = fields_of(cls).get(key)
    if field is None or issubclass(cls, Rule):
        return False
    hint = field.hint
    return get_origin(hint) is typing.Annotated and "data" in get_args(hint)[1:]
