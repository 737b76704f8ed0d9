"""Mistakes in `replace:` that no schema sees: levels that do not exist, or do not apply to the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onnxbuild.recipe.building import CUSTOM_RULES, Registry, is_callable_name, rule_class
from onnxbuild.recipe.mistakes import Mistake, did_you_mean
from onnxbuild.recipe.rule import LEVELS
from onnxbuild.recipe.sources import Sources


def rule_mistakes(
    data: Mapping[str, Any], sources: Sources, registry: Registry
) -> Iterator[Mistake]:
    """Look at each rule of a completed recipe beside the model that it is for."""
    rules, model = data.get("replace"), data.get("model")
    is_onnx = isinstance(model, Mapping) and model.get("onnx") is not None
    for name, rule in (rules if isinstance(rules, Mapping) else {}).items():
        if not isinstance(rule, Mapping):
            continue
        path = ("replace", name)
        level = rule.get("level", "module")
        if is_callable_name(rule.get("rule")) and level not in CUSTOM_RULES:
            yield Mistake(
                f"there is no level {level!r}",
                place=sources.place((*path, "level")),
                hint=did_you_mean(str(level), CUSTOM_RULES),
                path=(*path, "level"),
            )
            continue
        cls = rule_class(rule, registry)
        if is_onnx and cls is not None and cls.level != "graph":
            yield Mistake(
                f"the rule works {LEVELS[cls.level]}, and the model is an ONNX file already",
                place=sources.place(path, "key"),
                hint="take it out; of the rules that `onnxbuild rules` lists, those of the level `graph` apply",
                path=path,
            )
