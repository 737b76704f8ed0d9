"""The ways to export a model, in the order in which they are tried, and what became of those that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxbuild.recipe.opsets import DEFAULT_OPSET
from onnxbuild.recipe.schema import Export

DYNAMO_LEAST = 18
"""The lowest opset that dynamo writes; asked for a lower one, it gives this."""


def opset_of(export: Export) -> int:
    """Give the opset of an export, which a plan has made a number."""
    return export.opset if isinstance(export.opset, int) else DEFAULT_OPSET


COMPILED: Literal["torchscript compiled"] = "torchscript compiled"
"""TorchScript, the modules that loop over a size compiled."""

Way: TypeAlias = Literal["dynamo", "torchscript", "dynamo strict", "torchscript compiled"]
"""An exporter, and how it is called."""

Stage: TypeAlias = Literal["capture", "translation", "checks"]
"""How far a way got: the model is captured, its operators are translated, the graph is held against the recipe."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A size at which a graph may not be the model, and why."""

    dim: str
    size: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A way that failed."""

    way: Way
    what: str
    """Why, for people."""

    where: str = ""
    hint: str = ""
    doubts: tuple[Doubt, ...] = ()
    """What it found doubtful: that is of the model, and holds for the next way too."""

    reached: Stage = "capture"
    """Where it ended."""

    is_helped: bool = False
    """Rules that nobody asked for had stepped in."""

    helpers: tuple[str, ...] = ()
    """Such rules that find something in the model, where none had stepped in."""

    loops: tuple[str, ...] = ()
    """Lines of the model at which a loop makes a number of a size."""


def exporter_of(way: Way) -> str:
    """Name the exporter of a way: ``dynamo`` or ``torchscript``."""
    return way.partition(" ")[0]


def first_ways(export: Export) -> tuple[tuple[Way, ...], str]:
    """Give the ways that a recipe allows, in order, and why these."""
    opset = opset_of(export)
    dynamo: Way = "dynamo strict" if export.strict else "dynamo"
    strict: tuple[Way, ...] = () if export.strict else ("dynamo strict",)
    if export.exporter == "dynamo":
        return (dynamo,), "asked for"
    if export.exporter == "torchscript":
        return ("torchscript",), "asked for"
    if export.custom_opsets:
        return ("torchscript",), "dynamo takes no custom_opsets"
    if opset < DYNAMO_LEAST:
        reason = f"dynamo writes no opset below {DYNAMO_LEAST}"
        return ("torchscript", dynamo, *strict, COMPILED), reason
    return (dynamo, "torchscript", *strict, COMPILED), "dynamo first, the others where it fails"


def next_trial(export: Export, failed: Sequence[Attempt]) -> tuple[Way, bool] | None:
    """Give the way to try next, and whether built-in rules for modules step in; None when nothing is left.

    A way that fails is tried again with them, where they find something, before the next is.
    """
    if failed and failed[-1].helpers:
        return failed[-1].way, True
    way = next_way(export, failed)
    return None if way is None else (way, False)


def next_way(export: Export, failed: Sequence[Attempt]) -> Way | None:
    """Give the way to try next; None when all that could help have failed."""
    ways, _ = first_ways(export)
    tried = {attempt.way for attempt in failed}
    left = [way for way in ways if way not in tried]
    # What strict mode does otherwise is the capture, which may keep a size open that was fixed. It does not
    # help where an operator of a captured program has no translation, nor where the model's code goes another
    # way at some sizes.
    is_captured = any(
        item.way == "dynamo"
        and (
            item.reached == "translation" or (item.reached == "checks" and item.where[:4] == "dims")
        )
        for item in failed
    )
    if is_captured:
        left = [way for way in left if way != "dynamo strict"]
    # A loop over a size stays one where it is compiled, and in no other way that is left.
    loops = any(item.loops for item in failed)
    left = [way for way in left if way != ("dynamo strict" if loops else COMPILED)]
    return left[0] if left else None
