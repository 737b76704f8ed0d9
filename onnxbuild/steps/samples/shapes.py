"""Which shapes are visited: a trace, the example twice, the corners of the dynamic dims. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import TypeAlias

from onnxbuild.errors import DataError
from onnxbuild.recipe import dimensions
from onnxbuild.recipe.schema import Dim, Input

TRACE = "trace"
EXAMPLE = "example"
LEAST_TRACED = 2
"""Exporters take a size of 1 (or 0) for a constant."""
MOST_CHOICES = 256
"""Sizes that are looked at for one that no other dim has."""
MOST_TRIED = 16
"""Those among them that are tried with those of other dims."""
MOST_TRIES = 4096
"""Choices that are looked at, of all dims together."""
LARGEST_STEP = 32
"""Models that halve an image a few times want multiples of a power of two; this is the largest kept."""

Beside: TypeAlias = Mapping[str, Collection[int | str]]
"""By dim, what other axes stand beside it: sizes that are fixed, and expressions."""

ALONE: Beside = MappingProxyType({})


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

    A dim may be an expression of others. Raises `DataError` for an axis that the input has not.
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

    A dim that occurs in expressions alone has the size that `dims` gives it. Raises `DataError` where two inputs
    disagree about an example, or it lies outside its bounds.
    """
    examples: dict[str, tuple[int, str]] = {}
    for name, by_axis in axes.items():
        for axis, dim in sorted(by_axis.items()):
            if not dimensions.read(dim).is_name:
                continue
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
    for name, by_axis in axes.items():
        for dim in dimensions.names(by_axis.values()):
            examples.setdefault(dim, (_stand_in(dims.get(dim, Dim())), name))
    _check_examples(inputs, axes, {dim: size for dim, (size, _) in examples.items()})
    return {dim: _span(dim, size, dims.get(dim, Dim())) for dim, (size, _) in examples.items()}


def _check_examples(
    inputs: Mapping[str, Input], axes: Mapping[str, Mapping[int, str]], sizes: Mapping[str, int]
) -> None:
    """Refuse a shape whose size is not what its expression gives for the examples of the dims in it."""
    for name, by_axis in axes.items():
        given = inputs[name].shape
        for axis, size in enumerate(size_of(inputs[name], by_axis, sizes, name=name)):
            if given[axis] != size and not isinstance(given[axis], str):
                raise DataError(
                    f"axis {axis} of {name!r} is {given[axis]}, and {by_axis[axis]!r} is {size} at the examples of "
                    "its dimensions",
                    where=f"inputs.{name}.shape",
                    hint="write the expression in the shape, or give the dimensions an `example` in `dims:`",
                )


def find_visits(spans: Mapping[str, Span], beside: Beside = ALONE) -> list[Visit]:
    """List the shapes to visit, in order: trace, example, example, corners, sizes asked for besides.

    The corners of k dims are 2k + 2 shapes: all at their least, all at their most, each alone at
    either end. Shapes that were there already are left out. `beside` is as in `trace_sizes`.
    """
    example = {dim: span.example for dim, span in spans.items()}
    visits = [
        Visit(name=TRACE, sizes=trace_sizes(spans, beside)),
        Visit(name=EXAMPLE, sizes=example),
        Visit(name=EXAMPLE, sizes=example),
    ]
    seen = [example]
    for visit in _others(spans, example):
        if visit.sizes not in seen:
            seen.append(dict(visit.sizes))
            visits.append(visit)
    return visits


def find_neighbours(
    inputs: Mapping[str, Input], axes: Mapping[str, Mapping[int, str]]
) -> dict[str, tuple[int | str, ...]]:
    """Give, for each dim, what other axes stand beside it: fixed sizes of its inputs, and all expressions."""
    expressions = tuple(
        dict.fromkeys(
            dim
            for by_axis in axes.values()
            for dim in by_axis.values()
            if not dimensions.read(dim).is_name
        )
    )
    found: dict[str, dict[int | str, None]] = {}
    for name, by_axis in axes.items():
        shape = enumerate(inputs[name].shape)
        fixed = [size for axis, size in shape if axis not in by_axis and not isinstance(size, str)]
        for dim in dimensions.names(by_axis.values()):
            found.setdefault(dim, dict.fromkeys(expressions)).update(dict.fromkeys(fixed))
    return {dim: tuple(others) for dim, others in found.items()}


def trace_sizes(spans: Mapping[str, Span], beside: Beside = ALONE) -> dict[str, int]:
    """Give each dim a size of its own of at least 2, near its example and within its bounds if it can be.

    An expression in `beside` is to be at least 2 and have a size of its own, too, and no dim the fixed size of
    another axis of its input, where there is room for it.
    """
    near = {dim: list(islice(_near(span), MOST_CHOICES)) for dim, span in spans.items()}
    inside = {
        dim: [size for size in sizes if spans[dim].low <= size <= spans[dim].high][:MOST_TRIED]
        for dim, sizes in near.items()
    }
    # Each asks less than the one before.
    for is_apart in (_is_strictly_apart, _is_apart, _is_large):
        budget = iter(range(MOST_TRIES))
        found = _search(inside, beside, is_apart, {}, budget)
        if found is not None:
            return found
    chosen: dict[str, int] = {}
    for dim, sizes in near.items():
        chosen[dim] = next(size for size in sizes if size not in chosen.values())
    return chosen


def _search(
    choices: Mapping[str, Sequence[int]],
    beside: Beside,
    is_apart: Callable[[Mapping[str, int], Collection[int | str]], bool],
    sizes: dict[str, int],
    budget: Iterator[int],
) -> dict[str, int] | None:
    """Give the first choice of sizes for the rest of the dims in which all are apart, if there is one."""
    dim = next((dim for dim in choices if dim not in sizes), None)
    if dim is None:
        return sizes
    for size in choices[dim]:
        if size in sizes.values() or next(budget, None) is None:
            continue
        tried = {**sizes, dim: size}
        if is_apart(tried, beside.get(dim, ())):
            found = _search(choices, beside, is_apart, tried, budget)
            if found is not None:
                return found
    return None


def _is_strictly_apart(sizes: Mapping[str, int], beside: Collection[int | str]) -> bool:
    """Tell whether the last of the dims can also be told from the fixed axes beside it."""
    *_, last = sizes.values()
    return last not in beside and _is_apart(sizes, beside)


def _is_apart(sizes: Mapping[str, int], beside: Collection[int | str]) -> bool:
    """Tell whether each expression of these dims can be told from all other dynamic axes."""
    taken = set(sizes.values())
    for size in _sizes_of(beside, sizes):
        if size in taken or size < LEAST_TRACED:
            return False
        taken.add(size)
    return True


def _is_large(sizes: Mapping[str, int], beside: Collection[int | str]) -> bool:
    """Tell whether no expression has a size that exporters take for a constant."""
    return all(size >= LEAST_TRACED for size in _sizes_of(beside, sizes))


def _sizes_of(beside: Collection[int | str], sizes: Mapping[str, int]) -> list[int]:
    """Give the sizes of the expressions whose dims are all known; 0 for one that has none."""
    return [
        _evaluate(other, sizes) or 0
        for other in beside
        if isinstance(other, str) and dimensions.read(other).names_are_in(sizes)
    ]


def _evaluate(dim: str, sizes: Mapping[str, int]) -> int | None:
    try:
        return dimensions.size(dim, sizes)
    except ZeroDivisionError:
        return None


def size_of(
    item: Input, axes: Mapping[int, str], sizes: Mapping[str, int], *, name: str = ""
) -> tuple[int, ...]:
    """Give the shape that an input has when the dims have these sizes.

    Raises `DataError` where an expression gives no size for them.
    """
    shape = []
    for axis, given in enumerate(item.shape):
        if axis not in axes:
            shape.append(int(given))
            continue
        size = _evaluate(axes[axis], sizes)
        if size is None or size < 0:
            told = ", ".join(f"{dim} {sizes[dim]}" for dim in dimensions.names([axes[axis]]))
            raise DataError(
                f"{axes[axis]!r} is {'no number' if size is None else size} where {told}",
                where=f"inputs.{name}.shape" if name else "inputs",
                hint="bound its dimensions so that it is never below 0: `dims: {…: {min: …}}`",
            )
        shape.append(size)
    return tuple(shape)


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
