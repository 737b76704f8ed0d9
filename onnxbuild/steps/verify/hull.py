"""Which errors decide whether a tolerance holds: a few points that stand for all elements.

Each element of an output is a point (a, d): the size of the reference's value and of the error. The
tolerance of ``numpy.allclose`` is ``d <= atol + rtol * a`` for every point. For any rtol of at least 0 the
largest ``d - rtol * a`` is reached on the upper left convex hull, so that hull judges all tolerances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Point: TypeAlias = tuple[float, float]

MOST_POINTS = 64
"""Points that are kept of a hull."""


def find_hull(sizes: Floats, errors: Floats) -> list[Point]:
    """Give the upper left hull of the points, from left to right: sizes and errors both rise.

    Quickhull: each round keeps only what lies above a chord, so that the first leaves few of millions.
    """
    if not sizes.size:
        return []
    left = float(sizes.min())
    top = float(errors.max())
    first: Point = (left, float(errors[sizes == left].max()))
    last: Point = (float(sizes[errors == top].min()), top)
    if first[0] >= last[0] or first[1] >= last[1]:
        return [(first[0], top)] if first[0] >= last[0] else [first]
    hull = [first]
    between = (errors > first[1]) & (sizes < last[0])
    pending = [(first, last, sizes[between], errors[between])]
    while pending:
        start, end, a, d = pending.pop()
        above = (end[0] - start[0]) * (d - start[1]) - (end[1] - start[1]) * (a - start[0])
        kept = above > 0
        if not kept.any():
            hull.append(end)
            continue
        a, d, above = a[kept], d[kept], above[kept]
        best = int(above.argmax())
        middle: Point = (float(a[best]), float(d[best]))
        # The left part is taken from the stack first, so that the hull grows from left to right.
        pending.append((middle, end, a[a > middle[0]], d[a > middle[0]]))
        pending.append((start, middle, a[a < middle[0]], d[a < middle[0]]))
    return hull


def merge_hulls(hulls: Sequence[Sequence[Point]], most: int = MOST_POINTS) -> list[Point]:
    """Give one hull for several, of `most` points at the most.

    Where points must go, a neighbouring pair becomes its upper left corner, which allows no tolerance that
    the points do not.
    """
    points = [point for hull in hulls for point in hull]
    while True:
        array = np.array(points, dtype=np.float64).reshape(-1, 2)
        merged = find_hull(array[:, 0], array[:, 1])
        if len(merged) <= most:
            return merged
        points = [(one[0], other[1]) for one, other in zip(merged[::2], merged[1::2], strict=False)]
        points += [merged[-1]] if len(merged) % 2 else []
