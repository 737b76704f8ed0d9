"""Sums of products over labelled axes, as transpositions, sums and one matrix product for each further tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder

ELLIPSIS = "<>"
"""Stands before the number of an axis that the dots stand for, counted from the last."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A tensor, and a label for each of its axes."""

    value: ir.Value
    labels: tuple[str, ...]


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {"aten::einsum": einsum}


def einsum(
    op: Builder, equation: str, tensors: Sequence[ir.Value], *, path: Any = None
) -> ir.Value:
    """Give the sum of products that an equation says; the order of a path changes only the last digits."""
    del path
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [
        Labelled(value, _labels(term, op.rank(value)))
        for term, value in zip(left.split(","), tensors, strict=True)
    ]
    said = [label for term in terms for label in term.labels]
    dots = sorted({label for label in said if label.startswith(ELLIPSIS)}, reverse=True)
    if arrow:
        result = _expand(right, dots)
    else:
        once = sorted(label for label in set(said) if said.count(label) == 1 and label not in dots)
        result = (*dots, *once)
    found = _diagonal(op, terms[0])
    for number, term in enumerate(terms[1:], start=1):
        later = {label for other in terms[number + 1 :] for label in other.labels}
        found = _multiply(op, found, _diagonal(op, term), {*result, *later})
    found = _sum(op, found, set(result))
    return _transpose(op, found, result).value


def _labels(term: str, rank: int) -> tuple[str, ...]:
    missing = rank - len(term.replace("...", ""))
    return _expand(term, [f"{ELLIPSIS}{number}" for number in range(missing, 0, -1)])


def _expand(term: str, dots: Sequence[str]) -> tuple[str, ...]:
    before, found, after = term.partition("...")
    return (*before, *(dots if found else ()), *after)


def _diagonal(op: Builder, term: Labelled) -> Labelled:
    """Take the diagonal of axes that have one label."""
    value, labels = term.value, list(term.labels)
    while len(set(labels)) < len(labels):
        label = next(label for label in labels if labels.count(label) > 1)
        first = labels.index(label)
        second = labels.index(label, first + 1)
        places = op.arange(op.size(value, first))
        row, column = (
            [-1 if axis == i else 1 for axis in range(len(labels))] for i in (first, second)
        )
        rows, columns = op.reshape(places, row), op.reshape(places, column)
        is_other = op.Or(op.Less(rows, columns), op.Less(columns, rows))
        value = op.reduce("ReduceSum", op.where(is_other, 0, value), [second])
        del labels[second]
    return Labelled(value, tuple(labels))


def _sum(op: Builder, term: Labelled, kept: set[str]) -> Labelled:
    """Sum over the axes that nothing else asks for."""
    axes = [axis for axis, label in enumerate(term.labels) if label not in kept]
    if not axes:
        return term
    labels = tuple(label for label in term.labels if label in kept)
    return Labelled(op.reduce("ReduceSum", term.value, axes), labels)


def _transpose(op: Builder, term: Labelled, labels: Sequence[str]) -> Labelled:
    order = [term.labels.index(label) for label in labels]
    if order == list(range(len(order))):
        return term
    return Labelled(op.Transpose(term.value, perm=order), tuple(labels))


def _multiply(op: Builder, left: Labelled, right: Labelled, kept: set[str]) -> Labelled:
    """Multiply two terms, and sum over what nothing else asks for."""
    left = _sum(op, left, {*kept, *right.labels})
    right = _sum(op, right, {*kept, *left.labels})
    both = [label for label in left.labels if label in right.labels]
    batch = [label for label in both if label in kept]
    summed = [label for label in both if label not in kept]
    rows = [label for label in left.labels if label not in both]
    columns = [label for label in right.labels if label not in both]
    a = _transpose(op, left, [*batch, *rows, *summed])
    b = _transpose(op, right, [*batch, *summed, *columns])
    depth = len(batch)
    sizes = [
        *(op.size(a.value, depth + axis) for axis in range(len(rows))),
        *(op.size(b.value, depth + len(summed) + axis) for axis in range(len(columns))),
    ]
    matrix = _merge(op, a, depth, len(rows))
    other = _merge(op, b, depth, len(summed))
    product = op.MatMul(matrix, other)
    # Axes that the dots stand for may be 1 in one of the two: the product has the larger.
    outer = [op.size(product, axis) for axis in range(depth)] if depth else []
    value = op.reshape(product, [*outer, *sizes])
    return Labelled(value, (*batch, *rows, *columns))


def _merge(op: Builder, term: Labelled, depth: int, rows: int) -> ir.Value:
    """Make a tensor matrices: its axes after the batch's in two groups, `rows` in the first."""
    sizes = [op.size(term.value, axis) for axis in range(len(term.labels))]
    groups = sizes[depth : depth + rows], sizes[depth + rows :]
    return op.reshape(term.value, [*sizes[:depth], *(op.product(group) for group in groups)])
