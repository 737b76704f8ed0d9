"""What would cure an error at a node, in the words of the stage that makes it: read off the stage's own options."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from onnxbuild.recipe.stage import Stage

LISTS = ("node_block_list", "nodes_to_exclude")
"""Options that leave nodes as they are."""

SEARCHES = ("mixed", "auto")
"""Values of ``mode`` that find by themselves what to leave."""


def find_cure(stage: Stage | None, nodes: Sequence[str]) -> str:
    """Say which option leaves `nodes` as they were, or makes the stage gentler; empty where the stage has none."""
    if stage is None:
        return ""
    known = {field.name for field in dataclasses.fields(stage)}
    cures = []
    if getattr(stage, "per_channel", None) is False:
        cures.append("`per_channel: true`")
    cures += [f"`{name}: [{', '.join(nodes)}]`" for name in LISTS if name in known]
    cures += [f"`mode: {mode}`" for mode in searches(stage)]
    if "passes" in known:
        cures.append("`passes` without the one that rewrites it")
    if "function" in known:
        cures.append(f"a look at what {getattr(stage, 'function', 'the function')} does there")
    return ", or ".join(cures)


def searches(stage: Stage | None) -> list[str]:
    """Give the values of a stage's ``mode`` that find by themselves what to leave, but for the one that it has."""
    if stage is None or "mode" not in {field.name for field in dataclasses.fields(stage)}:
        return []
    offered = _choices(stage, "mode")
    return [mode for mode in SEARCHES if mode in offered and getattr(stage, "mode", None) != mode]


def _choices(stage: Stage, name: str) -> tuple[Any, ...]:
    hint = get_type_hints(type(stage)).get(name)
    return get_args(hint) if get_origin(hint) is Literal else ()
