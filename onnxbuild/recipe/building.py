"""Build the classes of a recipe from its completed form. Light: what is remembered comes back through here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from onnxbuild.core.values import build, plain
from onnxbuild.errors import UsageError
from onnxbuild.recipe.rule import Rule
from onnxbuild.recipe.schema import Recipe, StageUse
from onnxbuild.recipe.stage import Stage

EXPORT = "export"
CUSTOM = "custom"
CUSTOM_RULES = {"module": CUSTOM, "operator": "custom_operator", "graph": "custom_graph"}
"""What stands for a rule that is a callable of the user's own, by the level that the recipe says."""


class Registry(Protocol):
    """Gives the classes of stages and rules by name; `onnxbuild.registry` is one."""

    def names(self, table: str) -> list[str]:
        """List the names in ``stages``, ``rules`` or ``executors``."""
        ...

    def resolve(self, table: str, name: str) -> Any:
        """Give what a name stands for. Raises `UsageError`."""
        ...


RULE_KEYS = ("rule", "level", "optional")
"""Keys of a rule that is the user's own callable which are not options of that callable."""


def is_callable_name(text: Any) -> bool:
    """Tell whether a ``use:`` or ``rule:`` names a callable of the user's own."""
    return isinstance(text, str) and ":" in text


def stage_class(stage: Mapping[str, Any], registry: Registry) -> type[Stage] | None:
    """Give the class behind a stage; None when there is no such stage."""
    use = stage.get("use")
    found: type[Stage] | None = _resolve(
        "stages", CUSTOM if is_callable_name(use) else use, registry
    )
    return found


def rule_class(rule: Mapping[str, Any], registry: Registry) -> type[Rule] | None:
    """Give the class behind a rule; None when there is no such rule."""
    named = rule.get("rule")
    if is_callable_name(named):
        named = CUSTOM_RULES.get(str(rule.get("level", "module")), CUSTOM)
    found: type[Rule] | None = _resolve("rules", named, registry)
    return found


def _resolve(table: str, name: Any, registry: Registry) -> Any:
    """Ask for a name and not for all names: entry points of other packages cost tens of milliseconds."""
    if not isinstance(name, str):
        return None
    try:
        return registry.resolve(table, name)
    except UsageError:
        return None


def build_recipe(canonical: Mapping[str, Any], *, folder: str, registry: Registry) -> Recipe:
    """Build the classes of a completed recipe that is free of mistakes."""
    data = dict(canonical)
    stages = data.get("stages", {})
    rules = data.get("replace", {})
    data["stages"] = {name: build_stage(stage, registry) for name, stage in stages.items()}
    data["replace"] = {name: _build_rule(rule, registry) for name, rule in rules.items()}
    data["folder"] = folder
    return build(Recipe, data)


def build_stage(stage: Mapping[str, Any], registry: Registry) -> StageUse:
    """Build one stage that is free of mistakes."""
    cls = stage_class(stage, registry)
    options = {key: value for key, value in stage.items() if key not in {"use", "from"}}
    if cls is None:
        msg = f"there is no stage {stage.get('use')!r}"
        raise TypeError(msg)
    if is_callable_name(stage["use"]):
        options = {"function": stage["use"], "options": options}
    return StageUse(from_=stage["from"], use=stage["use"], stage=build(cls, options))


def _build_rule(rule: Mapping[str, Any], registry: Registry) -> Rule:
    cls = rule_class(rule, registry)
    options = {key: value for key, value in rule.items() if key != "rule"}
    if cls is None:
        msg = f"there is no rule {rule.get('rule')!r}"
        raise TypeError(msg)
    if is_callable_name(rule["rule"]):
        own = picked(options, ("optional",))
        options = {key: value for key, value in options.items() if key not in RULE_KEYS}
        options = {**own, "function": rule["rule"], "options": options}
    return build(cls, options)


def spell_out(recipe: Recipe, completed: Mapping[str, Any]) -> dict[str, Any]:
    """Write a recipe as one mapping with every default in it: what a reader of it need not know."""
    data: dict[str, Any] = plain(recipe)
    del data["folder"]
    data["stages"] = {
        name: _spell_stage(use, completed["stages"][name]) for name, use in recipe.stages.items()
    }
    data["replace"] = {
        name: {"rule": completed["replace"][name]["rule"], **_spell_rule(rule)}
        for name, rule in recipe.replace.items()
    }
    return data


def _spell_stage(use: StageUse, written: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(written) if is_callable_name(use.use) else plain(use.stage)
    return {**options, "use": use.use, "from": use.from_}


def _spell_rule(rule: Rule) -> dict[str, Any]:
    options: dict[str, Any] = plain(rule)
    if "function" in options and "options" in options:
        del options["function"]
        options.update(options.pop("options"))
        if rule.level != "module":
            options["level"] = rule.level
    return options


def picked(data: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Give the keys of a mapping that it has."""
    return {key: data[key] for key in keys if key in data}
