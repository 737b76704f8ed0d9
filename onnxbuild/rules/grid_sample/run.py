"""Values of an image at places that a grid says, gathered corner by corner and weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from onnxbuild.rules.building import Builder
from onnxbuild.rules.sampling import Sampler, linear, round_even

BILINEAR, NEAREST, BICUBIC = range(3)
SHARPNESS = -0.75
"""The constant of torch's cubic convolution."""


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    return {
        "aten::grid_sampler": sample,
        "aten::grid_sampler_2d": sample,
        "aten::grid_sampler_3d": sample,
    }


def sample(
    op: Builder,
    x: ir.Value,
    grid: ir.Value,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
) -> ir.Value:
    """Sample [N, C, *sizes] at a grid [N, *places, axes] whose last axis counts from the last of the sizes."""
    axes = op.rank(x) - 2
    sampler = Sampler(op, x, padding_mode, align_corners=align_corners)
    places = []
    for axis in range(axes):
        # The grid's last axis is x, y, z: the image's axes from the last.
        last = axes - 1 - axis
        one = op.slice(grid, [last], [last + 1], [axes + 1])
        places.append(sampler.unnormalize(op.squeeze(one, [axes + 1]), axis))
    if interpolation_mode == NEAREST:
        found = sampler.gather(
            [round_even(op, sampler.pad(place, axis)) for axis, place in enumerate(places)]
        )
    elif interpolation_mode == BILINEAR:
        padded = [sampler.pad(place, axis) for axis, place in enumerate(places)]
        found = sampler.weigh([linear(op, place) for place in padded])
    else:
        found = sampler.weigh([_cubic(op, place) for place in places], pad=True)
    # Gathered with the channels last.
    return op.Transpose(found, perm=[0, axes + 1, *range(1, axes + 1)])


def _cubic(op: Builder, place: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    """Give the four whole places around one, and their weights in a cubic convolution."""
    low = op.Floor(place)
    part = op.Sub(place, low)
    found = []
    for offset in (-1, 0, 1, 2):
        distance = op.Abs(op.Sub(part, op.like(float(offset), place)))
        near = offset in {0, 1}
        a = SHARPNESS
        terms = (a + 2, -(a + 3), 0.0, 1.0) if near else (a, -5 * a, 8 * a, -4 * a)
        weight = op.like(terms[0], place)
        for term in terms[1:]:
            weight = op.Add(op.Mul(weight, distance), op.like(term, place))
        found.append((op.Add(low, op.like(float(offset), place)), weight))
    return found
