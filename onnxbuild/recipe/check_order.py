"""Mistakes in the order of stages: what cannot come after what, each as the stages themselves say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from onnxbuild.core.values import build
from onnxbuild.recipe.building import Registry, build_stage
from onnxbuild.recipe.mistakes import KeyPath, Mistake
from onnxbuild.recipe.opsets import DEFAULT_OPSET, find_opset
from onnxbuild.recipe.schema import Export, StageUse, TargetRuntime
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
    opset = _opset(data, wrong)
    for name, use in stages.items():
        contradiction = use.stage.contradicts()
        if contradiction:
            yield Mistake(
                f"the options of {use.use} contradict one another",
                place=sources.place(("stages", name), "key"),
                hint=contradiction,
                path=("stages", name),
            )
        for before in _ancestors(name, stages):
            told = _tell(use, stages[before], before, opset)
            if told is None:
                continue
            path = ("stages", name, "from")
            yield Mistake(
                told[0],
                place=sources.place(path) or sources.place(("stages", name), "key"),
                hint=told[1],
                path=path,
            )
            break


def _tell(use: StageUse, earlier: StageUse, name: str, opset: int | None) -> tuple[str, str] | None:
    """Say what is wrong where a stage comes after another, and which order is right; None if it can."""
    what = f"{use.use} cannot come after {earlier.use} ({name!r})"
    if earlier.stage.is_last():
        return what, f"{earlier.use} comes last: start from what {name!r} starts from"
    hint = use.stage.refuses(earlier.stage)
    if hint:
        return what, hint
    needed = use.stage.needs_opset(earlier.stage)
    if opset is not None and opset < needed:
        return (
            f"{what} below opset {needed}, and the export has {opset}",
            f"set export.opset to {needed} or more, or take the two in the other order",
        )
    return None


def _opset(data: Mapping[str, Any], wrong: Collection[KeyPath]) -> int | None:
    """Give the opset that the export will have; None where the recipe does not decide that."""
    sections = {key: data.get(key, {}) for key in ("export", "target", "model")}
    if not all(isinstance(section, Mapping) for section in sections.values()):
        return None
    if any(path[:1] in {("export",), ("target",)} for path in wrong):
        return None
    opset = find_opset(build(Export, sections["export"]), build(TargetRuntime, sections["target"]))
    is_file = sections["model"].get("onnx") is not None
    return DEFAULT_OPSET if opset is None and not is_file else opset


def _ancestors(name: str, stages: Mapping[str, StageUse]) -> Iterator[str]:
    seen = {name}
    name = stages[name].from_
    while name in stages and name not in seen:
        yield name
        seen.add(name)
        name = stages[name].from_
