"""Other sizes to trace a model at, where it goes a special way at those of the example.

An example mostly has round sizes, and code often does less for these: nothing is to be padded, or cut off again. What
is captured there lacks that, while the way for uneven sizes is right for round ones, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.between import find_bounds, resize
from onnxbuild.steps.export.measure import Problem
from onnxbuild.steps.export.subject import Subject
from onnxbuild.steps.export.target import Target
from onnxbuild.steps.export.ways import Doubt

PRIMES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
"""Multiples of no window or patch that is usual."""

SMALL = (3, 5, 7)
"""Where no other is within the bounds."""


def compares_sizes(
    error: ExportError, problems: Iterable[Problem], target: Target, doubts: Iterable[Doubt]
) -> bool:
    """True if a graph is wrong where sizes compare otherwise than at the example."""
    if error.where.startswith("dims"):
        return True
    failing = [problem.index for problem in problems if problem.kind != "drift"]
    sizes = {item for index in failing for item in target.shapes[index]["sizes"].items()}
    return any((doubt.dim, doubt.size) in sizes for doubt in doubts)


def find_uneven(target: Target) -> dict[str, int] | None:
    """Give sizes of the dynamic dimensions that nothing divides, near those of the example; None if there are none."""
    trace: Mapping[str, int] = target.shapes[0]["sizes"]
    found = dict(trace)
    for dim, (low, high) in find_bounds(target).items():
        step, others = target.multiples.get(dim, 1), set(found.values())
        for primes in (PRIMES, SMALL):
            sizes = [step * prime for prime in primes]
            sizes = [size for size in sizes if low <= size <= high and size not in others]
            if sizes:
                found[dim] = min(sizes, key=lambda size: abs(size - trace[dim]))
                break
    return found if found != trace else None


def trace_at(subject: Subject, sizes: Mapping[str, int]) -> tuple[Sequence[torch.Tensor], Target]:
    """Give the traced sample with these sizes, and what is asked as if they were those of the example."""
    target = subject.target
    item = {
        name: resize(array, target.axes(name), sizes)
        for name, array in subject.trace.items()
        if name in subject.adapter.inputs
    }
    first = {**target.shapes[0], "sizes": dict(sizes)}
    return subject.adapter.tensors(item), replace(target, shapes=(first, *target.shapes[1:]))
