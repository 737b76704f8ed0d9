"""Mistakes in the order of stages: what cannot come after what, each as the stages themselves say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from onnxbuild.recipe.building import Registry, build_stage
from onnxbuild.recipe.mistakes import KeyPath, Mistake
from onnxbuild.recipe.schema import StageUse
from onnxbuild.recipe.sources import Sources


def order_mistakes(
    data: Mapping[str, Any], sources: Sources, registry: Registry, wrong: Collection[KeyPath]
) -> Iterator[Mistake]:
    """Ask each stage whether it can come after those that it starts from, the nearest first.

    What has other mistakes, whose paths are `wrong`, is left to those.
    """
    given = data.get("stages")
    written: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    stages: dict[str, StageUse] = {}
    for name, stage in written.items():
        if isinstance(stage, Mapping) and not any(path[:2] == ("stages", name) for path in wrong):
            stages[name] = build_stage(stage, registry)
    for name, use in stages.items():
        for before in _ancestors(name, stages):
            earlier = stages[before]
            hint = use.stage.refuses(earlier.stage)
            if not hint:
                continue
            path = ("stages", name, "from")
            yield Mistake(
                f"{use.use} cannot come after {earlier.use} ({before!r})",
                place=sources.place(path) or sources.place(("stages", name), "key"),
                hint=hint,
                path=path,
            )
            break


def _ancestors(name: str, stages: Mapping[str, StageUse]) -> Iterator[str]:
    seen = {name}
    name = stages[name].from_
    while name in stages and name not in seen:
        yield name
        seen.add(name)
        name = stages[name].from_
