"""Values of images at places between their pixels: gathered corner by corner, and weighed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import onnx_ir as ir

from onnxbuild.rules.building import Builder

ZEROS, BORDER, REFLECTION = range(3)
"""What is outside of an image, by torch's numbers."""


class Sampler:
    """An image laid out as one row of pixels, channels last."""

    def __init__(
        self, op: Builder, x: ir.Value, padding: int, *, align_corners: bool, rank: int = 0
    ) -> None:
        """Take images [N, C, *sizes]; places have `rank` axes, the batch first, as many as the image has sizes if not said."""
        self.op = op
        self.axes = op.rank(x) - 2
        self.rank = rank or self.axes + 1
        self.padding = padding
        self.align_corners = align_corners
        self.dtype = x.dtype or ir.DataType.FLOAT
        self.x = x
        sizes = [op.ints([op.size(x, axis + 2)]) for axis in range(self.axes)]
        self.whole = sizes
        self.sizes = [op.cast(size, self.dtype) for size in sizes]
        channels_last = op.Transpose(x, perm=[0, *range(2, self.axes + 2), 1])
        self.pixels = op.reshape(channels_last, [-1, op.size(x, 1)])
        images = op.arange(op.size(x, 0))
        area = sizes[0]
        for size in sizes[1:]:
            area = op.Mul(area, size)
        self.starts = op.reshape(op.Mul(images, area), [-1] + [1] * (self.rank - 1))

    def unnormalize(self, place: ir.Value, axis: int) -> ir.Value:
        """Give a place in [-1, 1] in pixels."""
        op, size = self.op, self.sizes[axis]
        one, half = op.like(1.0, self.x), op.like(0.5, self.x)
        if self.align_corners:
            return op.Mul(op.Mul(op.Add(place, one), half), op.Sub(size, one))
        return op.Mul(op.Sub(op.Mul(op.Add(place, one), size), one), half)

    def pad(self, place: ir.Value, axis: int) -> ir.Value:
        """Bring a place into the image, as the padding says."""
        if self.padding == ZEROS:
            return place
        if self.padding == REFLECTION:
            place = self._reflect(place, axis)
        return self._clip(place, axis)

    def _clip(self, place: ir.Value, axis: int) -> ir.Value:
        op = self.op
        last = op.Sub(self.sizes[axis], op.like(1.0, self.x))
        return op.Max(op.Min(place, last), op.like(0.0, self.x))

    def _reflect(self, place: ir.Value, axis: int) -> ir.Value:
        op, size = self.op, self.sizes[axis]
        one, half = op.like(1.0, self.x), op.like(0.5, self.x)
        low = op.like(0.0 if self.align_corners else -0.5, self.x)
        span = op.Max(op.Sub(size, one), one) if self.align_corners else size
        way = op.Abs(op.Sub(place, low))
        turns = op.Floor(op.Div(way, span))
        rest = op.Sub(way, op.Mul(turns, span))
        is_even = op.Less(
            op.Sub(turns, op.Mul(op.Floor(op.Mul(turns, half)), op.like(2.0, self.x))), half
        )
        return op.Add(op.Where(is_even, rest, op.Sub(span, rest)), low)

    def gather(self, places: Sequence[ir.Value]) -> ir.Value:
        """Give the pixels at whole places; zeros outside of the image where the padding says so."""
        op = self.op
        index = None
        inside = None
        for axis, place in enumerate(places):
            kept = self._clip(place, axis)
            whole = op.cast(kept, ir.DataType.INT64)
            index = whole if index is None else op.Add(op.Mul(index, self.whole[axis]), whole)
            if self.padding == ZEROS:
                moved = op.Abs(op.Sub(place, kept))
                # Whole numbers: what was moved at all was moved by 1 at least.
                stays = op.Less(moved, op.like(0.5, self.x))
                inside = stays if inside is None else op.And(inside, stays)
        assert index is not None  # noqa: S101 - an image has axes
        found = op.Gather(self.pixels, op.Add(index, self.starts), axis=0)
        if inside is None:
            return found
        return op.where(op.unsqueeze(inside, [self.rank]), found, 0.0)

    def weigh(
        self, lines: Sequence[Sequence[tuple[ir.Value, ir.Value]]], *, pad: bool = False
    ) -> ir.Value:
        """Add up the pixels at all combinations of the axes' places, each with the product of its weights."""
        op = self.op
        total = None
        for corner in itertools.product(*lines):
            places = [place for place, _ in corner]
            if pad:
                places = [self.pad(place, axis) for axis, place in enumerate(places)]
                places = [round_even(op, place) for place in places]
            weight = corner[0][1]
            for _, other in corner[1:]:
                weight = op.Mul(weight, other)
            part = op.Mul(self.gather(places), op.unsqueeze(weight, [self.rank]))
            total = part if total is None else op.Add(total, part)
        assert total is not None  # noqa: S101 - an image has axes
        return total


def linear(op: Builder, place: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    """Give the two whole places around one, and their weights."""
    low = op.Floor(place)
    part = op.Sub(place, low)
    one = op.like(1.0, place)
    return [(low, op.Sub(one, part)), (op.Add(low, one), part)]


def round_even(op: Builder, place: ir.Value) -> ir.Value:
    """Round to the nearest whole number; halves go to the even one, as torch has it."""
    if op.has("Round"):
        return op.Round(place)
    half, two = op.like(0.5, place), op.like(2.0, place)
    moved = op.Add(place, half)
    up = op.Floor(moved)
    odd = op.Sub(up, op.Mul(op.Floor(op.Div(up, two)), two))
    return op.Where(op.Less(up, moved), up, op.Sub(up, odd))
