"""The canonical form of a recipe: short forms written out, defaults filled in, classes built.

`write_out` is applied to every source before they are laid over one another, so that an override can name
a key inside of what was written short. `complete` is applied to the result. Both leave alone what they do
not understand: what is wrong with it is said by the schema and by `onnxbuild.recipe.check`.
"""

from __future__ import annotations

import dataclasses
import os
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from onnxbuild.recipe import dimensions
from onnxbuild.recipe.building import (
    EXPORT,
    Registry,
    is_callable_name,
    picked,
    rule_class,
    stage_class,
)
from onnxbuild.recipe.describe import accepts_none, fields_of
from onnxbuild.recipe.expanding import write_all
from onnxbuild.recipe.schema import Recipe


def write_out(data: Mapping[str, Any]) -> dict[str, Any]:
    """Write out the short forms of a recipe, or of a part of one."""
    out = dict(data)
    if "model" in out:
        out["model"] = _write_model(out["model"])
    for section, linked in (("inputs", ""), ("dynamic_axes", ""), ("outputs", "feeds")):
        if isinstance(out.get(section), Mapping):
            out[section] = write_all(out[section], linked)
    if isinstance(out.get("inputs"), Mapping):
        _part_constants(out)
    shorts = {"inputs": _write_input, "stages": _write_stage, "data": _write_data}
    for section, write in shorts.items():
        if isinstance(out.get(section), Mapping):
            out[section] = {name: write(value) for name, value in out[section].items()}
    if isinstance(out.get("replace"), Mapping):
        rules = out["replace"]
        out["replace"] = {name: {} if value is None else value for name, value in rules.items()}
    return out


def _write_model(model: Any) -> Any:
    if isinstance(model, Mapping) and isinstance(model.get("weights"), str):
        return {**model, "weights": {"path": model["weights"]}}
    return model


def _write_input(value: Any) -> Any:
    return {"shape": value} if isinstance(value, list) else value


def _part_constants(out: dict[str, Any]) -> None:
    """Take the inputs that are no tensors (``{value: true}``) out into a section of their own."""
    inputs = out["inputs"]
    constants = {
        name: value["value"]
        for name, value in inputs.items()
        if isinstance(value, Mapping) and value.keys() == {"value"}
    }
    if constants:
        out["inputs"] = {name: value for name, value in inputs.items() if name not in constants}
        given = out.get("constants")
        out["constants"] = {**(given if isinstance(given, Mapping) else {}), **constants}


def _write_stage(value: Any) -> Any:
    return {"use": value} if isinstance(value, str) else value


def _write_data(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    is_entry = ":" in value or value.endswith(".py")
    return {"entry": value} if is_entry else {"path": value}


def complete(data: Mapping[str, Any], *, stem: str, registry: Registry) -> dict[str, Any]:
    """Fill in what a composed recipe leaves to be understood. Sections stand in the schema's order."""
    given = drop_none(Recipe, data)
    given.setdefault("name", stem)
    out = {key: given[key] for key in fields_of(Recipe) if key in given}
    out.update({key: value for key, value in given.items() if key not in out})
    _complete_axes(out)
    _complete_outputs(out)
    if isinstance(out.get("stages"), Mapping):
        out["stages"] = {
            name: _complete_stage(stage, registry) for name, stage in out["stages"].items()
        }
    if isinstance(out.get("replace"), Mapping):
        out["replace"] = {
            name: _complete_rule(str(name), rule, registry) for name, rule in out["replace"].items()
        }
    if "publish" not in out:
        out["publish"] = last_of(out.get("stages"))
    return out


def drop_none(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is null where nothing is meant by it, in a section and in those inside of it."""
    fields = fields_of(cls)
    out = {}
    for key, value in data.items():
        field = fields.get(key)
        if value is None and field is not None and not accepts_none(field.hint):
            continue
        out[key] = value if field is None else _drop_inside(field.hint, value)
    return out


def _drop_inside(hint: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _drop_inside(arguments[0], value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return drop_none(hint, value)
    if origin in {Union, types.UnionType}:
        for option in arguments:
            value = _drop_inside(option, value)
        return value
    if origin is not None and len(arguments) == 2:  # noqa: PLR2004 - a mapping's
        return {key: _drop_inside(arguments[1], item) for key, item in value.items()}
    return value


def last_of(stages: Any) -> list[str]:
    """Give the stages that no other starts from, in order; the exported model where there are none."""
    if not isinstance(stages, Mapping) or not stages:
        return [EXPORT]
    said = [stage.get("from") for stage in stages.values() if isinstance(stage, Mapping)]
    parents = {parent for parent in said if isinstance(parent, str)}
    return [str(name) for name in stages if name not in parents]


def example_size(dim: Any) -> int:
    """Give the size that stands for a name in a shape."""
    bounds = dim if isinstance(dim, Mapping) else {}
    if isinstance(bounds.get("example"), int):
        return int(bounds["example"])
    least, most, step = bounds.get("min"), bounds.get("max"), bounds.get("multiple_of")
    step = step if isinstance(step, int) and step > 0 else 1
    size = max(2, least) if isinstance(least, int) else 2
    size = -(-size // step) * step
    return min(size, most // step * step) if isinstance(most, int) else size


def _complete_axes(out: dict[str, Any]) -> None:
    """Write the sizes of the example into all shapes, and names and expressions into ``dynamic_axes``."""
    inputs = out.get("inputs")
    if not isinstance(inputs, Mapping):
        return
    axes = dict(out["dynamic_axes"]) if isinstance(out.get("dynamic_axes"), Mapping) else {}
    axes = {name: _tidy_axes(said) for name, said in axes.items()}
    sizes = _Examples(out, axes)
    written: dict[str, Any] = {}
    for name, value in inputs.items():
        shape = value.get("shape") if isinstance(value, Mapping) else None
        if not isinstance(shape, list):
            written[name] = value
            continue
        named = {str(axis): _tidy(size) for axis, size in enumerate(shape) if isinstance(size, str)}
        shape = [sizes.of(size) if isinstance(size, str) else size for size in shape]
        written[name] = {**value, "shape": shape}
        said = axes.get(name, {})
        if named and isinstance(said, Mapping):
            axes[name] = {**named, **said}
    out["inputs"] = written
    if axes or "dynamic_axes" in out:
        out["dynamic_axes"] = axes


def _complete_outputs(out: dict[str, Any]) -> None:
    """Part a mapping of outputs into their names and what they feed; one with mistakes stays as it is."""
    outputs = out.get("outputs")
    if not isinstance(outputs, Mapping):
        return
    uses = {name: {} if use is None else use for name, use in outputs.items()}
    feeds: dict[str, str] = {}
    for name, use in uses.items():
        if not isinstance(use, Mapping) or use.keys() - {"feeds"}:
            return
        fed = use.get("feeds")
        if fed is not None and not isinstance(fed, str):
            return
        if fed is not None:
            feeds[name] = fed
    given = out.get("feeds")
    out["outputs"] = list(uses)
    if feeds or given is not None:
        out["feeds"] = {**feeds, **given} if isinstance(given, Mapping) else given or feeds


def _tidy(dim: str) -> str:
    """Write an expression in the one way; leave alone what is none."""
    try:
        return dimensions.parse(dim).text
    except dimensions.DimensionError:
        return dim


def _tidy_axes(axes: Any) -> Any:
    if not isinstance(axes, Mapping):
        return axes
    return {axis: _tidy(dim) if isinstance(dim, str) else dim for axis, dim in axes.items()}


class _Examples:
    """The example sizes of dimensions: from a shape that has a number there, else from ``dims``."""

    def __init__(self, out: Mapping[str, Any], axes: Mapping[str, Any]) -> None:
        self.dims = out["dims"] if isinstance(out.get("dims"), Mapping) else {}
        self.known: dict[str, int] = {}
        for name, value in out["inputs"].items():
            given = value.get("shape") if isinstance(value, Mapping) else None
            shape = given if isinstance(given, list) else []
            said = axes.get(name)
            for axis, dim in said.items() if isinstance(said, Mapping) else ():
                size = shape[int(axis)] if axis.isdigit() and int(axis) < len(shape) else None
                if isinstance(dim, str) and type(size) is int:
                    self.known.setdefault(dim, size)

    def of(self, text: str) -> int | str:
        """Give the size of a dimension; its own text where it has none."""
        try:
            names = dimensions.parse(text).names
            sizes = {
                name: self.known[name] if name in self.known else example_size(self.dims.get(name))
                for name in names
            }
            size = dimensions.parse(text).evaluate(sizes)
        except dimensions.DimensionError:
            return example_size(self.dims.get(text))
        except ZeroDivisionError:
            return text
        # What is no size is said where the expression stands.
        return text if size < 0 else size


def _complete_stage(stage: Any, registry: Registry) -> Any:
    if not isinstance(stage, Mapping):
        return stage
    cls = stage_class(stage, registry)
    own = {"use", "from"}
    options = {key: value for key, value in stage.items() if key not in own}
    if cls is not None and not is_callable_name(stage.get("use")):
        options = drop_none(cls, options)
    parent = stage.get("from")
    return {**picked(stage, ("use",)), "from": EXPORT if parent is None else parent, **options}


def _complete_rule(key: str, rule: Any, registry: Registry) -> Any:
    if not isinstance(rule, Mapping):
        return rule
    name = rule.get("rule")
    if name is None:
        name = key if key in registry.names("rules") else _name_rule(rule) or key
    options = {option: value for option, value in rule.items() if option != "rule"}
    out = {"rule": name, **options}
    cls = rule_class(out, registry)
    return drop_none(cls, out) if cls is not None and not is_callable_name(name) else out


def _name_rule(rule: Mapping[str, Any]) -> str:
    """Name the rule that one without a name means by its keys; empty if none."""
    for name in ("pattern", "operator", "module"):
        if name in rule:
            return name
    return "module" if "with" in rule else ""


def default_name(path: str) -> str:
    """Give the name of a recipe that does not say one."""
    return os.path.basename(path).removesuffix(".yaml").removesuffix(".yml")
