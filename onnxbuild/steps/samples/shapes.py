"""Which shapes are visited: a trace, the example twice, the corners of the dynamic dims. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from onnxbuild.errors import DataError
from onnxbuild.recipe.schema import Dim, Input

TRACE = "trace"
EXAMPLE = "example"
LEAST_TRACED = 2
"""Exporters take a size of 1 (or 0) for a constant."""
LARGEST_STEP = 32
"""Models that halve an image a few times want multiples of a power of two; this is the largest kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What sizes a dynamic dim has."""

    example: int
    low: int
    high: int
    multiple: int = 1
    verify: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One shape that is visited: what it is called, and the size of each dynamic dim."""

    name: str
    sizes: Mapping[str, int]


def name_axes(
    inputs: Mapping[str, Input], dynamic_axes: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[int, str]]:
    """Give the dim of each dynamic axis of each input: from `dynamic_axes` and from names in shapes.

    Raises `DataError` for an axis that the input has not.
    """
    named: dict[str, dict[int, str]] = {}
    for name, item in inputs.items():
        rank = len(item.shape)
        axes = {axis: size for axis, size in enumerate(item.shape) if isinstance(size, str)}
        for text, dim in dynamic_axes.get(name, {}).items():
            axis = int(text)
            if not -rank <= axis < rank:
                raise DataError(
                    f"{name!r} has no axis {axis}: its shape is {list(item.shape)}",
                    where=f"dynamic_axes.{name}",
                    hint="axes count from 0",
                )
            axes[axis % rank] = dim
        named[name] = axes
    return named


def find_spans(
    inputs: Mapping[str, Input], axes: Mapping[str, Mapping[int, str]], dims: Mapping[str, Dim]
) -> dict[str, Span]:
    """Give the sizes of each dynamic dim, in the order in which the inputs name them.

    Raises `DataError` where two inputs disagree about an example, or it lies outside its bounds.
    """
    examples: dict[str, tuple[int, str]] = {}
    for name, by_axis in axes.items():
        for axis, dim in sorted(by_axis.items()):
            size = inputs[name].shape[axis]
            if isinstance(size, str):
                size = _stand_in(dims.get(dim, Dim()))
            known, first = examples.setdefault(dim, (size, name))
            if known != size:
                raise DataError(
                    f"{dim!r} is {known} in {first!r} and {size} in {name!r}",
                    where="inputs",
                    hint="a dimension has one size: give both the same, or name two dimensions",
                )
    return {dim: _span(dim, size, dims.get(dim, Dim())) for dim, (size, _) in examples.items()}


def find_visits(spans: Mapping[str, Span]) -> list[Visit]:
    """List the shapes to visit, in order: trace, example, example, corners, sizes asked for besides.

    The corners of k dims are 2k + 2 shapes: all at their least, all at their most, each alone at
    either end. Shapes that were there already are left out.
    """
    example = {dim: span.example for dim, span in spans.items()}
    visits = [
        Visit(name=TRACE, sizes=trace_sizes(spans)),
        Visit(name=EXAMPLE, sizes=example),
        Visit(name=EXAMPLE, sizes=example),
    ]
    seen = [example]
    for visit in _others(spans, example):
        if visit.sizes not in seen:
            seen.append(dict(visit.sizes))
            visits.append(visit)
    return visits


def trace_sizes(spans: Mapping[str, Span]) -> dict[str, int]:
    """Give each dim a size of its own of at least 2, near its example and within its bounds if it can be."""
    sizes: dict[str, int] = {}
    for dim, span in spans.items():
        sizes[dim] = next(size for size in _near(span) if size not in sizes.values())
    return sizes


def size_of(item: Input, axes: Mapping[int, str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Give the shape that an input has when the dims have these sizes."""
    return tuple(
        sizes[axes[axis]] if axis in axes else int(size) for axis, size in enumerate(item.shape)
    )


def _others(spans: Mapping[str, Span], example: Mapping[str, int]) -> Iterator[Visit]:
    if len(spans) > 1:
        yield Visit(name="least", sizes={dim: span.low for dim, span in spans.items()})
        yield Visit(name="most", sizes={dim: span.high for dim, span in spans.items()})
    for dim, span in spans.items():
        for size in (span.low, span.high):
            yield Visit(name=f"{dim}={size}", sizes={**example, dim: size})
    for dim, span in spans.items():
        for size in span.verify:
            yield Visit(name=f"{dim}={size}", sizes={**example, dim: size})


def _stand_in(dim: Dim) -> int:
    """Give the example size of a dim that a shape names without saying its size."""
    if dim.example is not None:
        return dim.example
    size = _up(2 if dim.min is None else max(2, dim.min), dim.multiple_of)
    return size if dim.max is None else min(size, _down(dim.max, dim.multiple_of))


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _down(size: int, multiple: int) -> int:
    return size // multiple * multiple


def _span(name: str, example: int, dim: Dim) -> Span:
    least = min(1, example) if dim.min is None else dim.min
    most = max(2 * example + 1, least) if dim.max is None else dim.max
    low, high = _up(least, dim.multiple_of), _down(most, dim.multiple_of)
    span = Span(example=example, low=low, high=high, multiple=dim.multiple_of, verify=dim.verify)
    for size in (example, *dim.verify):
        if size % dim.multiple_of:
            raise DataError(
                f"the size {size} of {name!r} is no multiple of {dim.multiple_of}",
                where=f"dims.{name}",
                hint=f"take {_up(size, dim.multiple_of)}",
            )
    if low > high:
        raise DataError(
            f"{name!r} is to be at least {least} and at most {most}"
            + (f", and a multiple of {dim.multiple_of}" if dim.multiple_of > 1 else ""),
            where=f"dims.{name}",
            hint="exchange `min` and `max`" if least > most else "no size is all of that",
        )
    if not low <= example <= high:
        raise DataError(
            f"the example size {example} of {name!r} is outside its bounds {low} to {high}",
            where=f"dims.{name}",
            hint="give the input an example within them, or widen them",
        )
    return replace(span, verify=tuple(dict.fromkeys(dim.verify)))


def _near(span: Span) -> Iterator[int]:
    """Give sizes of at least 2: the example, others by its power of two, all in the bounds, any above.

    Only such as the dim may have.
    """
    low = _up(max(LEAST_TRACED, span.low), span.multiple)
    if low <= span.example <= span.high:
        yield span.example
    power = span.example & -span.example
    steps = (math.lcm(min(power, LARGEST_STEP) or 1, span.multiple), span.multiple)
    for step in dict.fromkeys(steps):
        distance = step
        while span.example + distance <= span.high or span.example - distance >= low:
            for size in (span.example + distance, span.example - distance):
                if low <= size <= span.high:
                    yield size
            distance += step
    size = _up(max(LEAST_TRACED, span.high + 1), span.multiple)
    while True:
        yield size
        size += span.multiple
