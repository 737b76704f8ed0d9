"""Overrides of the command line, in Hydra's grammar."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from onnxbuild.compose.configs import Configs, version_base
from onnxbuild.compose.paths import find_paths
from onnxbuild.compose.values import lay
from onnxbuild.errors import RecipeError
from onnxbuild.recipe.canonical import write_out
from onnxbuild.recipe.mistakes import KeyPath, Mistake, Place, did_you_mean, dotted, in_order
from onnxbuild.recipe.sources import OverrideLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Overrides, sorted out."""

    groups: tuple[Override, ...]
    """Choices of configs: ``env=ci``."""
    values: tuple[Override, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def texts(self) -> dict[str, str]:
        """The choices as they were written, by group."""
        return {override.key_or_group: str(override.input_line) for override in self.groups}


def parse(texts: Sequence[str], configs: Configs) -> Parsed:
    """Parse overrides; what chooses a config is told from what gives a value."""
    groups: list[Override] = []
    values: list[Override] = []
    mistakes: list[Mistake] = []
    chosen = configs.named_groups()
    for text in texts:
        try:
            override = _parse(text)
        except RecipeError as error:
            mistakes += [item for item in error.mistakes if isinstance(item, Mistake)]
            continue
        if override.is_sweep_override():
            mistakes.append(
                mistake_in(
                    text, "this override is a sweep", "add --multirun to build each point of it"
                )
            )
        elif override.key_or_group and configs.group_exists(override.key_or_group):
            # Hydra wants a `+` for a group that no defaults list names, and none for one that it names;
            # people should not have to know.
            plus = "" if override.key_or_group in chosen else "+"
            if override.is_delete():
                groups.append(override)
            else:
                groups.append(_parse(plus + text.lstrip("+"), shown=text))
        elif "/" in override.key_or_group:
            hint = did_you_mean(override.key_or_group, configs.groups())
            mistakes.append(
                mistake_in(
                    text, f"there is no config group {override.key_or_group!r}", hint, key=True
                )
            )
        elif not override.key_or_group or override.package:
            mistakes.append(
                mistake_in(text, "this override names no key of a recipe", _FORM, key=True)
            )
        else:
            values.append(override)
    return Parsed(groups=tuple(groups), values=tuple(values), mistakes=tuple(mistakes))


def _parse(text: str, shown: str | None = None) -> Override:
    try:
        with version_base():
            override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        said = str(error).splitlines()[0][:60] if str(error) else "it is not in Hydra's grammar"
        key, equals, _ = text.partition("=")
        hint = (
            _FORM
            if not equals or not key
            else "a value with spaces or signs needs quotes of its own: 'key=\"a, b\"'"
        )
        raise RecipeError(
            [mistake_in(shown or text, f"this override cannot be read: {said}", hint)]
        ) from error
    except RecursionError as error:
        raise RecipeError(
            [mistake_in(shown or text, "this override is nested too deep")]
        ) from error
    override.input_line = shown or text
    return override


def expand_sweeps(texts: Sequence[str]) -> list[list[str]]:
    """Give each point of a sweep as a list of overrides. Raises `RecipeError`."""
    choices: list[list[str]] = []
    mistakes: list[Mistake] = []
    for text in texts:
        try:
            override = _parse(text)
        except RecipeError as error:
            mistakes += [item for item in error.mistakes if isinstance(item, Mistake)]
            continue
        if not override.is_sweep_override():
            choices.append([text])
        elif override.is_discrete_sweep() and "glob(" not in text:
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            kind = "a glob" if "glob(" in text else "an interval"
            mistakes.append(
                mistake_in(
                    text, f"{kind} has no points to build", "name them: key=1,2,3 or range(1,10,2)"
                )
            )
    if mistakes:
        raise RecipeError(in_order(mistakes))
    return [list(point) for point in itertools.product(*choices)]


def apply(
    data: dict[str, Any], overrides: Sequence[Override]
) -> tuple[dict[str, Any], list[OverrideLayer], list[Mistake]]:
    """Lay overrides over a composed recipe. A key never needs a ``+``."""
    layers: list[OverrideLayer] = []
    mistakes: list[Mistake] = []
    for override in overrides:
        text = str(override.input_line)
        for path in find_paths(data, override.key_or_group.split(".")):
            if override.is_delete():
                data, wrong = _delete(data, path, override, text)
                mistakes += wrong
                continue
            value = with_text_keys(override.value())
            try:
                data, given = _set(data, path, value)
            except _NoPlaceError as error:
                mistakes.append(mistake_in(text, str(error), key=True))
                continue
            layers.append(OverrideLayer(text=text, path=path, paths=frozenset(given)))
    return data, layers, mistakes


def with_text_keys(value: Any) -> Any:
    """Make the keys of mappings text, as the reader does with a file's."""
    if isinstance(value, dict):
        return {str(key): with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_text_keys(item) for item in value]
    return value


class _NoPlaceError(Exception):
    """An override leads through something that has no keys."""


def _set(data: dict[str, Any], path: KeyPath, value: Any) -> tuple[dict[str, Any], set[KeyPath]]:
    """Give the data with a value at `path`, and the paths that now come from it."""
    at: Any = data
    for depth, key in enumerate(path):
        if isinstance(at, list):
            return _set_in_list(data, path, depth, value)
        if not isinstance(at, Mapping):
            msg = f"`{dotted(path[:depth])}` is {at!r}, which has no keys"
            raise _NoPlaceError(msg)
        if at.get(key) is None:
            break
        at = at[key]
    nested = write_out(nest(path, value))
    if len(path) == 2 and path[0] == "stages" and isinstance(value, str):  # noqa: PLR2004
        nested = _replace_stage(data, path, nested)
        data = _without(data, path)
    given = {path, *(path[:end] for end in range(1, len(path)) if not _has(data, path[:end]))}
    return lay(data, nested), given | set(_paths(nested, ()))


def _set_in_list(
    data: dict[str, Any], path: KeyPath, depth: int, value: Any
) -> tuple[dict[str, Any], set[KeyPath]]:
    def inside(at: Any, rest: KeyPath) -> Any:
        if not rest:
            return value
        key = rest[0]
        if isinstance(at, list):
            if not key.isdigit() or int(key) >= len(at):
                msg = (
                    f"`{dotted(path[:depth])}` has {len(at)} items, counted from 0, and no {key!r}"
                )
                raise _NoPlaceError(msg)
            copy = list(at)
            copy[int(key)] = inside(at[int(key)], rest[1:])
            return copy
        if isinstance(at, Mapping) or at is None:
            return {**(at or {}), key: inside((at or {}).get(key), rest[1:])}
        msg = f"`{dotted(path[: len(path) - len(rest)])}` is {at!r}, which has no keys"
        raise _NoPlaceError(msg)

    return inside(data, path), {path}


def _delete(
    data: dict[str, Any], path: KeyPath, override: Override, text: str
) -> tuple[dict[str, Any], list[Mistake]]:
    at: Any = data
    for depth, key in enumerate(path):
        if not isinstance(at, Mapping) or key not in at:
            known = at if isinstance(at, Mapping) else ()
            what = f"`{dotted(path[: depth + 1])}` is not there to be removed"
            return data, [mistake_in(text, what, did_you_mean(key, known), key=True)]
        at = at[key]
    asked = override.value()
    if asked not in (None, "") and asked != at:
        return data, [mistake_in(text, f"`{dotted(path)}` is {at!r}, not {asked!r}")]
    data = _without(data, path)
    if len(path) == 2 and path[0] == "stages":  # noqa: PLR2004 - a whole stage
        data = _without_variant(data, path[1])
    return data, []


def _without_variant(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Let a stage that is removed be neither published nor verified: one override is enough."""
    published, gates = data.get("publish"), data.get("verify")
    out = dict(data)
    if isinstance(published, list):
        out["publish"] = [item for item in published if item != name]
    if isinstance(gates, Mapping):
        out["verify"] = {variant: gate for variant, gate in gates.items() if variant != name}
    return out


def _without(data: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """Give the data without what is at `path`; its place in the order is kept free for a successor."""
    if len(path) == 1:
        return {key: value for key, value in data.items() if key != path[0]}
    inner = data.get(path[0])
    return {**data, path[0]: _without(inner, path[1:])} if isinstance(inner, dict) else data


def _replace_stage(
    data: Mapping[str, Any], path: KeyPath, nested: dict[str, Any]
) -> dict[str, Any]:
    """Let another stage stand where one was: its options go, what it starts from stays."""
    old = data.get("stages", {}).get(path[1])
    new = nested["stages"][path[1]]
    if not isinstance(old, Mapping):
        return nested
    if old.get("use") == new["use"]:
        return {"stages": {path[1]: {**old, **new}}}
    kept = {"from": old["from"]} if "from" in old else {}
    return {"stages": {path[1]: {**kept, **new}}}


def nest(path: KeyPath, value: Any) -> dict[str, Any]:
    """Put a value under the keys of a path."""
    for key in reversed(path):
        value = {key: value}
    result: dict[str, Any] = value
    return result


def _has(data: Any, path: KeyPath) -> bool:
    for key in path:
        if not isinstance(data, Mapping) or key not in data:
            return False
        data = data[key]
    return True


def _paths(value: Any, path: KeyPath) -> list[KeyPath]:
    if isinstance(value, Mapping):
        found = [inner for key, item in value.items() for inner in _paths(item, (*path, key))]
        return found or [path]
    if isinstance(value, list):
        items = [
            inner for index, item in enumerate(value) for inner in _paths(item, (*path, str(index)))
        ]
        return [path, *items]
    return [path]


def mistake_in(text: str, what: str, hint: str = "", *, key: bool = False) -> Mistake:
    """Make a mistake of an override."""
    name, equals, value = text.partition("=")
    start, width = (0, len(name)) if key or not equals else (len(name) + 1, len(value))
    place = Place(
        source="",
        column=start + 1,
        width=max(1, width),
        text=text,
        origin="the command line",
        order=1_000,
    )
    return Mistake(what, place=place, hint=hint)


_FORM = "an override is key=value, as in export.opset=18; ~key removes a key; env=ci takes an environment"
