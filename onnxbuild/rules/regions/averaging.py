"""The average over points of regions as two matrix products, where an opset or a runtime has no `RoiAlign`.

A point between the pixels weighs rows and columns apart, and what is outside counts for each alone. So a region's
points become weights of rows, and weights of columns, and the image is multiplied with both.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxbuild.rules.building import Builder


def average(
    op: Builder,
    x: ir.Value,
    images: ir.Value,
    corners: ir.Value,
    scale: float,
    sizes: tuple[int, int],
    ratio: int,
    aligned: bool,
) -> ir.Value:
    """Give [regions, channels, *sizes] of images [N, C, H, W]; `corners` are x, y, x, y."""
    rows = _weights(op, x, corners, 2, scale, sizes[0], ratio, aligned)
    columns = _weights(op, x, corners, 3, scale, sizes[1], ratio, aligned)
    batch, channels, height, width = (op.size(x, axis) for axis in range(4))
    # Each region's image is chosen by weights of zero for the rows of all others.
    hit = op.Equal(op.unsqueeze(images, [1]), op.reshape(op.arange(batch), [1, -1]))
    chosen = op.Mul(op.unsqueeze(rows, [2]), op.reshape(_number(op, hit, x), [-1, 1, batch, 1]))
    matrix = op.reshape(chosen, [-1, op.product([batch, height])])
    pixels = op.reshape(op.Transpose(x, perm=[0, 2, 1, 3]), [*_flat(op, x)])
    found = op.reshape(op.MatMul(matrix, pixels), [-1, sizes[0], channels, width])
    turned = op.Transpose(found, perm=[0, 2, 1, 3])
    return op.MatMul(turned, op.unsqueeze(op.Transpose(columns, perm=[0, 2, 1]), [1]))


def _flat(op: Builder, x: ir.Value) -> list[object]:
    return [-1, op.product([op.size(x, 1), op.size(x, 3)])]


def _weights(
    op: Builder,
    x: ir.Value,
    corners: ir.Value,
    axis: int,
    scale: float,
    cells: int,
    ratio: int,
    aligned: bool,
) -> ir.Value:
    """Give what each cell of each region takes of each row, or column: [regions, cells, size]."""
    first, extent = _extent(op, x, corners, axis, scale, aligned)
    cell = op.Div(extent, op.like(float(cells), x))
    if ratio > 0:
        count, most = op.like(float(ratio), x), ratio
    else:
        count = op.Ceil(cell)
        # There may be no region, and of nothing there is no greatest.
        every = op.Concat(op.reshape(count, [-1]), op.reshape(op.like(1.0, x), [1]), axis=0)
        most = op.as_int(op.reduce("ReduceMax", every, [0], keepdims=True))
    point = op.reshape(_number(op, op.arange(most), x), [1, 1, -1])
    number = op.reshape(_number(op, op.arange(cells), x), [1, -1, 1])
    shared = op.Max(count, op.like(1.0, x))
    part = op.Div(op.Add(point, op.like(0.5, x)), shared)
    place = op.Add(first, op.Mul(op.Add(number, part), cell))
    size = _number(op, op.ints([op.size(x, axis)]), x)
    outside = op.Or(op.Less(place, op.like(-1.0, x)), op.Greater(place, size))
    counts = op.And(op.Not(outside), op.Less(point, count))
    place = op.Max(op.Min(place, op.Sub(size, op.like(1.0, x))), op.like(0.0, x))
    pixels = op.reshape(_number(op, op.arange(op.size(x, axis)), x), [1, 1, 1, -1])
    apart = op.Abs(op.Sub(op.unsqueeze(place, [3]), pixels))
    near = op.Max(op.Sub(op.like(1.0, x), apart), op.like(0.0, x))
    weights = op.Mul(near, op.unsqueeze(_number(op, counts, x), [3]))
    return op.Div(op.reduce("ReduceSum", weights, [2]), shared)


def _extent(
    op: Builder, x: ir.Value, corners: ir.Value, axis: int, scale: float, aligned: bool
) -> tuple[ir.Value, ir.Value]:
    """Give where each region begins, and how long it is, in pixels: [regions, 1, 1]."""
    # Corners are x first.
    column = 3 - axis
    kept = op.cast(corners, x.dtype or ir.DataType.FLOAT)
    first, last = (
        op.unsqueeze(op.Mul(op.slice(kept, [at], [at + 1], [1]), op.like(scale, x)), [2])
        for at in (column, column + 2)
    )
    extent = op.Sub(last, first)
    if aligned:
        return op.Sub(first, op.like(0.5, x)), extent
    return first, op.Max(extent, op.like(1.0, x))


def _number(op: Builder, value: ir.Value, x: ir.Value) -> ir.Value:
    return op.Cast(value, to=int(x.dtype or ir.DataType.FLOAT))
