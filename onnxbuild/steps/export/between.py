"""Sizes between the corners at which an exported graph may not be the model.

Corners show what changes with a dimension from end to end. A model that pads odd sizes, or goes another way
from some length on, is right at them and wrong between. torch.export notes each comparison of sizes that
its capture went through: a *guard*. So the sizes in the bounds at which a guard does not hold are visited as
well. A trace notes none, but warns that it turned a size into a number of Python's; then a few sizes inside
the bounds are visited.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from onnxbuild.arrays import Array, ArraysWriter, read_item
from onnxbuild.core.ports import Work
from onnxbuild.errors import ExportError, ModelError
from onnxbuild.recipe import dimensions
from onnxbuild.steps.export.measure import Problem, measure
from onnxbuild.steps.export.target import Target
from onnxbuild.steps.export.ways import Doubt
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.user import say

MOST_SIZES = 2048
"""Sizes of a dimension at which a guard is evaluated; of a wider one as many, evenly spread."""

MOST_VISITS = 16
"""Sizes that are visited."""

LARGEST = 64_000_000
"""Elements of the inputs from which on a size is too large to be visited beside the corners."""

SHOWN = 3
"""Comparisons that a message shows."""

HINT = (
    "make the model do the same whatever the size, or give the dimension the sizes at which it does:"
    " `min`, `max`, `multiple_of`"
)
"""What helps where a model does other things at other sizes."""

SIZE = re.compile(r"L\['(?:values|flat_args)'\]\[(\d+)\]\.size\(\)\[(\d+)\]")
"""How guards speak of an axis of one of the adapter's inputs; in strict mode these have the second name."""

FUNCTIONS = {"__builtins__": {}, "min": min, "max": max}
"""What guards may call."""

Bounds = Mapping[str, tuple[int, int]]
"""By dimension: its least and its largest size."""


def find_bounds(target: Target) -> Bounds:
    """Give the bounds of each dimension, as the samples have visited them."""
    bounds: dict[str, tuple[int, int]] = {}
    for shape in target.shapes:
        for dim, size in shape["sizes"].items():
            low, high = bounds.get(dim, (size, size))
            bounds[dim] = (min(low, size), max(high, size))
    return bounds


def guarded(program: torch.export.ExportedProgram, target: Target) -> list[Doubt]:
    """Give sizes for which the guards of a captured program do not hold: of each the first, the middle, the last.

    Where these are not known, or speak of inputs in another way, some sizes inside the bounds.
    """
    # Not public, and nothing else tells: the guards that torch checks when the program is called.
    guards: Sequence[str] | None = getattr(program, "_guards_code", None)
    texts = [SIZE.sub(lambda found: _name(found, target), guard) for guard in guards or ()]
    if guards is None or any("L[" in text for text in texts):
        return between(target, "what torch.export compared is not known")
    trace, bounds = dict(target.shapes[0]["sizes"]), find_bounds(target)
    doubts: list[Doubt] = []
    for text in texts:
        names = set(re.findall(r"sizes\['(.*?)'\]", text))
        for dim in sorted(names & trace.keys()):
            sizes = _spread(*bounds[dim], step=target.multiples.get(dim, 1))
            failing = [size for size in sizes if not _holds(text, {**trace, dim: size})]
            why = re.sub(r"\((\w+)\)", r"\1", re.sub(r"sizes\['(.*?)'\]", r"\1", text))
            picked = {failing[0], failing[len(failing) // 2], failing[-1]} if failing else set()
            doubts += [Doubt(dim, size, why) for size in sorted(picked)]
    return doubts


def between(target: Target, why: str) -> list[Doubt]:
    """Give sizes inside the bounds of each dimension, odd and even ones."""
    doubts = []
    for dim, (low, high) in find_bounds(target).items():
        step = target.multiples.get(dim, 1)
        count = (high - low) // step
        steps = (1, count // 2, count // 2 + 1, 3 * count // 4, count - 1)
        sizes = [low + step * number for number in steps]
        doubts += [Doubt(dim, size, why) for size in dict.fromkeys(sizes) if low < size < high]
    return doubts


def visit(
    work: Work, graph: str, adapter: Adapter, target: Target, doubts: Iterable[Doubt], exporter: str
) -> None:
    """Run the graph and the model at doubtful sizes. Raises `ExportError` where they are not the same.

    A size at which the model itself fails is none of its sizes.
    """
    known = {(dim, size) for shape in target.shapes for dim, size in shape["sizes"].items()}
    chosen, left = choose(doubt for doubt in doubts if (doubt.dim, doubt.size) not in known)
    if not chosen:
        return
    if left:
        say(f"of {len(chosen) + left} doubtful sizes {len(chosen)} are visited")
    visited: list[Doubt] = []
    samples, reference = (
        os.path.join(work.folder, name) for name in ("between.npz", "expected.npz")
    )
    trace = read_item(work.input("samples"), 0)
    with ArraysWriter(samples) as given, ArraysWriter(reference) as expected:
        for doubt in chosen:
            sizes = {**target.shapes[0]["sizes"], doubt.dim: doubt.size}
            item = {name: resize(array, target.axes(name), sizes) for name, array in trace.items()}
            if sum(array.size for array in item.values()) > LARGEST:
                say(f"{doubt.dim} {doubt.size} is too large to be visited")
                continue
            try:
                outputs = adapter.predict(item)
            except ModelError as error:
                say(f"the model fails at {doubt.dim} {doubt.size}: {error.what}")
                continue
            given.add(item)
            expected.add(outputs)
            visited.append(doubt)
    inputs = [port.name for port in target.inputs]
    problems = measure(graph, inputs, samples, reference)
    for problem in (item for item in problems if item.kind != "drift"):
        doubt = visited[problem.index]
        raise ExportError(
            f"{exporter} gives a graph that is not the model at {doubt.dim} {doubt.size}, between the sizes that"
            f" are verified ({doubt.why}): {problem.text}",
            where=f"dims.{doubt.dim}",
            hint=HINT,
        )


def choose(doubts: Iterable[Doubt]) -> tuple[list[Doubt], int]:
    """Give the doubts that are visited, each size once, and how many are left out.

    One of each reason comes before the next of any, so that no comparison of many sizes hides another.
    """
    sizes = {(doubt.dim, doubt.size): doubt for doubt in doubts}
    reasons: dict[tuple[str, str], list[Doubt]] = {}
    for doubt in sizes.values():
        reasons.setdefault((doubt.dim, doubt.why), []).append(doubt)
    rows = itertools.zip_longest(*reasons.values())
    fair = [doubt for row in rows for doubt in row if doubt is not None]
    return fair[:MOST_VISITS], len(fair[MOST_VISITS:])


def explain_sizes(
    error: ExportError, problems: Sequence[Problem], target: Target, doubts: Iterable[Doubt]
) -> ExportError:
    """Add to what is wrong at some samples how sizes compare at the example and not there: forward goes another way."""
    failing = {problem.index for problem in problems if problem.kind != "drift"}
    if error.where != "export" or not failing or 0 in failing:
        return error
    sizes = target.shapes[min(failing)]["sizes"]
    reasons = {doubt.why: doubt for doubt in doubts if sizes.get(doubt.dim) == doubt.size}
    # The shorter, the more likely it is of the model's own code, and not of a reshape.
    told = [
        f"\n  {why}: true at the example, not at {reasons[why].dim} {reasons[why].size}"
        for why in sorted(reasons, key=len)[:SHOWN]
    ]
    if not told:
        return error
    return ExportError(
        f"{error.what}\n  forward, or what it calls, compares sizes, and may go another way there:{''.join(told)}",
        where="dims",
        hint=HINT,
    )


def _name(found: re.Match[str], target: Target) -> str:
    """Say an axis by its dimension's name, or by its size where it is not dynamic."""
    port, axis = target.inputs[int(found[1])], int(found[2])
    dim = port.dims[axis]
    if not isinstance(dim, str):
        return str(dim)
    return f"({dimensions.substitute(dim, lambda name: f'sizes[{name!r}]')})"


def _holds(guard: str, sizes: Mapping[str, int]) -> bool:
    """Evaluate a guard. One that speaks of something else than sizes says nothing here."""
    try:
        return bool(eval(guard, dict(FUNCTIONS), {"sizes": sizes}))  # noqa: S307 - torch's own arithmetic
    except (NameError, TypeError, AttributeError, SyntaxError, ZeroDivisionError):
        return True


def _spread(low: int, high: int, step: int) -> range:
    """Give all sizes from `low` to `high`, or as many as are looked at."""
    many = -(-(high - low) // step // MOST_SIZES) or 1
    return range(low, high + 1, step * many)


def resize(array: Array, axes: Mapping[int, str], sizes: Mapping[str, int]) -> Array:
    """Give a sample the sizes of these dimensions, by repeating its own values."""
    for axis, dim in axes.items():
        size = dimensions.size(dim, sizes)
        if size != array.shape[axis]:
            rows: Any = np.arange(size) % array.shape[axis]
            array = np.take(array, rows, axis)
    return array
