"""Values put at places that indices or masks name, in any opset: `index_put` and `masked_scatter`.

The axes that are indexed come first, become one axis, and the places on it one row of numbers. What
is left is one scatter of whole rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder
from onnxbuild.rules.scatter.adding import index_add


def index_put(
    op: Builder,
    x: ir.Value,
    indices: Sequence[ir.Value | None],
    values: ir.Value,
    accumulate: bool = False,
) -> Any:
    """Put values at places, or add them there. What the exporter has by itself is left to it."""
    masks = [index for index in indices if index is not None and _is_mask(index)]
    if not accumulate and not masks and op.opset >= 11:  # noqa: PLR2004 - which has ScatterND
        return NotImplemented
    if not accumulate and len(masks) == len(indices) == 1 and _is_one_row(op, x, masks[0], values):
        keep = op.cast(masks[0], ir.DataType.BOOL)
        wide = range(op.rank(keep), op.rank(x))
        return op.Where(op.unsqueeze(keep, wide) if wide else keep, values, x)
    first, taken = _take(op, indices)
    count, rank = len(taken), op.rank(x)
    if first + count > rank:
        raise ExportError(
            f"{op.exporter} takes the mask of an index_put apart wrongly, where other axes are indexed too",
            where="replace",
            hint="write it with torch.where; or say `exporter: dynamo`",
        )
    perm = [*range(first, first + count), *range(first), *range(first + count, rank)]
    moved = op.Transpose(x, perm=perm) if first else x
    place = _number(op, moved, taken)
    rest = [op.size(moved, axis) for axis in range(count, rank)]
    rows = _rows(op, values, place, rest, first)
    flat = op.reshape(moved, [-1, op.product(rest)])
    place = op.reshape(place, [-1])
    found = index_add(op, flat, 0, place, rows) if accumulate else _set_rows(op, flat, place, rows)
    found = op.Reshape(found, op.Shape(moved))
    if first:
        found = op.Transpose(found, perm=[perm.index(axis) for axis in range(rank)])
    return found


def masked_scatter(op: Builder, x: ir.Value, mask: ir.Value, source: ir.Value) -> ir.Value:
    """Put the first values of `source`, as many as are wanted, where the mask is true."""
    wide = op.Expand(x, op.Shape(mask))
    places = op.reshape(_true_places(op, op.reshape(_widened(op, mask, wide), [-1])), [-1])
    taken = op.Gather(op.reshape(source, [-1]), op.arange(op.Shape(places)), axis=0)
    return op.Reshape(_scatter(op, op.reshape(wide, [-1]), places, taken), op.Shape(wide))


def _is_mask(index: ir.Value) -> bool:
    return index.dtype in {ir.DataType.BOOL, ir.DataType.UINT8}


def _is_one_row(op: Builder, x: ir.Value, mask: ir.Value, values: ir.Value) -> bool:
    """True if every place that a mask chooses gets the same."""
    rest = op.rank(x) - op.rank(mask)
    sizes = op.sizes(values)
    return len(sizes) <= rest or (len(sizes) == rest + 1 and sizes[0] == 1)


def _take(op: Builder, indices: Sequence[ir.Value | None]) -> tuple[int, list[ir.Value]]:
    """Give the first axis that is indexed, and the indices from there on; a mask is one for each of its axes."""
    first = next(number for number, index in enumerate(indices) if index is not None)
    together = list(itertools.takewhile(lambda index: index is not None, indices[first:]))
    if any(index is not None for index in indices[first + len(together) :]):
        raise ExportError(
            "an index_put with axes between those that are indexed has no translation",
            where="replace",
            hint="permute the axes that are indexed so that they stand together; or say `exporter: dynamo`",
        )
    taken = []
    for index in together:
        if index is not None and _is_mask(index):
            found = _true_places(op, index)
            taken += [
                op.squeeze(op.slice(found, [axis], [axis + 1], [0]), [0])
                for axis in range(op.rank(index))
            ]
        elif index is not None:
            taken.append(op.as_int(index))
    return first, taken


def _true_places(op: Builder, mask: ir.Value) -> ir.Value:
    """Give, for each axis of a mask, where it is true."""
    found = op.NonZero(op.cast(mask, ir.DataType.BOOL))
    found.shape = ir.Shape([op.rank(mask), None])
    return found


def _number(op: Builder, x: ir.Value, indices: Sequence[ir.Value]) -> ir.Value:
    """Number the places that indices of the first axes name, from the front of the tensor."""
    place: ir.Value | None = None
    for axis, index in enumerate(indices):
        length = op.ints([op.size(x, axis)])
        positive = op.Where(op.Less(index, op.constant(0)), op.Add(index, length), index)
        place = positive if place is None else op.Add(op.Mul(place, length), positive)
    assert place is not None  # noqa: S101 - torch takes no index_put without an index
    return place


def _rows(op: Builder, values: ir.Value, place: ir.Value, rest: Sequence[Any], first: int) -> Any:
    """Make one row of `values` for each place. In torch's result the `first` axes stand before the places."""
    rank = op.rank(values)
    if not first and len(rest) < rank < op.rank(place) + len(rest):
        # TorchScript gives an axis that a model indexes by a number an index of one place, but the values no axis for it.
        kept = [op.size(values, axis) for axis in range(rank - len(rest), rank)]
        values, place = op.reshape(values, [-1, *kept]), op.reshape(place, [-1])
    at = op.Shape(place)
    sizes = [op.ints([size]) for size in rest]
    whole = [*sizes[:first], at, *sizes[first:]]
    wide = op.Expand(values, op.Concat(*whole, axis=0) if len(whole) > 1 else at)
    if first:
        rank = op.rank(place)
        axes = range(first + rank, len(rest) + rank)
        wide = op.Transpose(wide, perm=[*range(first, first + rank), *range(first), *axes])
    return op.reshape(wide, [-1, op.product(rest)])


def _set_rows(op: Builder, x: ir.Value, place: ir.Value, rows: ir.Value) -> ir.Value:
    everywhere = op.Expand(op.unsqueeze(place, [1]), op.Shape(rows))
    return _scatter(op, x, everywhere, rows)


def _scatter(op: Builder, x: ir.Value, index: ir.Value, values: ir.Value) -> ir.Value:
    if op.has("ScatterElements"):
        return op.ScatterElements(x, index, values, axis=0)
    return op.Scatter(x, index, values, axis=0)


def _widened(op: Builder, mask: ir.Value, other: ir.Value) -> ir.Value:
    """Expand a mask; as numbers, since not every runtime takes booleans."""
    return op.Expand(op.cast(mask, ir.DataType.INT32), op.Shape(other))
