"""Mistakes in shapes, dynamic axes and the bounds of dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from onnxbuild.recipe import dimensions
from onnxbuild.recipe.canonical import example_size
from onnxbuild.recipe.mistakes import KeyPath, Mistake, did_you_mean, dotted
from onnxbuild.recipe.sources import Sources

GRAMMAR = "letters, digits and underscores; or an expression of names: past + sequence, 2*k, k // 2"

MOST_NAMES = 8
"""Dimensions in one expression."""


def shape_mistakes(data: Mapping[str, Any], sources: Sources) -> Iterator[Mistake]:
    """Check shapes against dynamic axes, and both against the bounds of dimensions."""
    shapes = _Shapes(data, sources)
    yield from shapes.axis_mistakes()
    yield from shapes.size_mistakes()
    yield from shapes.bound_mistakes()


class _Shapes:
    def __init__(self, data: Mapping[str, Any], sources: Sources) -> None:
        self.sources = sources
        self.inputs = _mapping(data.get("inputs"))
        self.axes = _mapping(data.get("dynamic_axes"))
        self.dims = _mapping(data.get("dims"))
        outputs = data.get("outputs")
        self.outputs = [str(name) for name in outputs] if isinstance(outputs, list) else None
        self.has_inputs = bool(self.inputs)
        self.plain = {
            dim
            for name, axes in self.axes.items()
            if name in self.inputs or not self.has_inputs
            for dim in _mapping(axes).values()
            if isinstance(dim, str) and dimensions.read(dim).is_name
        }
        self.examples = {dim: size for _, _, dim, size in self.named_axes()}

    def mistake(self, path: KeyPath, what: str, hint: str = "", part: Any = "value") -> Mistake:
        return Mistake(what, place=self.sources.place(path, part), hint=hint, path=path)

    def shape(self, name: str) -> list[Any] | None:
        shape = _mapping(self.inputs.get(name)).get("shape")
        return shape if isinstance(shape, list) else None

    def axis_mistakes(self) -> Iterator[Mistake]:
        for name, axes in self.axes.items():
            path = ("dynamic_axes", name)
            if self.has_inputs and name not in self.inputs:
                yield from self.name_mistakes(path, name)
            for axis, dim in _mapping(axes).items():
                yield from self.one_axis_mistakes((*path, axis), name, axis, dim)

    def name_mistakes(self, path: KeyPath, name: str) -> Iterator[Mistake]:
        known = [*self.inputs, *(self.outputs or [])]
        if self.outputs is not None and name not in self.outputs:
            yield self.mistake(
                path,
                f"the model has no input or output {name!r}",
                did_you_mean(name, known),
                "key",
            )
        elif self.outputs is None and get_close_matches(name, self.inputs, n=1, cutoff=0.8):
            # Outputs need no names, so any other name may be one of theirs.
            yield self.mistake(
                path,
                f"the model has no input {name!r}",
                f"{did_you_mean(name, self.inputs)} If it is an output, name it in `outputs:`",
                "key",
            )

    def one_axis_mistakes(self, path: KeyPath, name: str, axis: str, dim: Any) -> Iterator[Mistake]:
        shape = self.shape(name)
        if not axis.isascii() or not axis.isdigit():
            hint = "count from 0" if axis.startswith("-") else "write axis: name, as in {0: batch}"
            yield self.mistake(path, f"{axis!r} is no axis", hint, "key")
        elif shape is not None and int(axis) >= len(shape):
            last = (
                f"its axes are 0 to {len(shape) - 1}" if shape else "it is a scalar, without axes"
            )
            yield self.mistake(path, f"`{name}` has no axis {axis}", last, "key")
        elif isinstance(dim, str):
            written = path if self.sources.given(path) else ("inputs", name, "shape", axis)
            yield from self.text_mistakes(written, name, dim)

    def text_mistakes(self, path: KeyPath, name: str, text: str) -> Iterator[Mistake]:
        """Check the text of a dimension: its grammar, its names, and that it has a size at all bounds."""
        try:
            expression = dimensions.parse(text)
        except dimensions.DimensionError as error:
            wrong = self.mistake(path, f"{text!r} cannot name a dimension: {error.what}", GRAMMAR)
            yield self.at(wrong, text, error.column)
            return
        if not expression.names:
            yield self.mistake(
                path, f"{text!r} cannot name a dimension: it has no name in it", "write the number"
            )
        if expression.is_name:
            return
        for part, column in expression.places:
            known = self.plain | self.dims.keys()
            near = get_close_matches(part, known, n=1, cutoff=0.8)
            if part not in known and (near or name not in self.inputs):
                what = f"there is no dimension {part!r}"
                yield self.at(self.mistake(path, what, did_you_mean(part, known)), text, column)
        if name in self.inputs:
            yield from self.extent_mistakes(path, expression)

    def at(self, mistake: Mistake, text: str, column: int) -> Mistake:
        """Put the caret under one character of a text, where the line has the text as it is."""
        place = mistake.place
        start = place.text.find(text, max(0, place.column - 1)) if place else -1
        if place is None or start < 0:
            return mistake
        moved = replace(place, column=start + column + 1, width=1)
        return Mistake(mistake.what, place=moved, hint=mistake.hint, path=mistake.path)

    def extent_mistakes(
        self, path: KeyPath, expression: dimensions.Expression
    ) -> Iterator[Mistake]:
        """Check that an expression is a size wherever its dimensions are at their bounds."""
        ends = [self.ends(part) for part in expression.names[:MOST_NAMES]]
        if len(expression.names) > MOST_NAMES:
            yield self.mistake(path, f"{expression.text!r} has more than {MOST_NAMES} dimensions")
            return
        for corner in itertools.product(*ends):
            sizes = dict(zip(expression.names, corner, strict=True))
            told = ", ".join(f"{part} is {size}" for part, size in sizes.items())
            try:
                size = expression.evaluate(sizes)
            except ZeroDivisionError:
                yield self.mistake(path, f"{expression.text!r} divides by 0 where {told}")
                return
            if size < 0:
                yield self.mistake(
                    path,
                    f"{expression.text!r} is {size} where {told}",
                    f"bound it, as in dims: {{{expression.names[0]}: {{min: …}}}}",
                )
                return

    def ends(self, dim: str) -> list[int]:
        """Give the least and the largest size of a dimension, or its example where they are not said."""
        bounds = _mapping(self.dims.get(dim))
        least, most = bounds.get("min"), bounds.get("max")
        example = self.examples.get(dim, example_size(bounds))
        low = least if isinstance(least, int) else min(1, example)
        return [low, most if isinstance(most, int) else max(example, low)]

    def size_mistakes(self) -> Iterator[Mistake]:
        """Check that a dimension has one example size, within its bounds."""
        first: dict[str, tuple[str, str, int]] = {}
        for name, axis, dim, size in self.named_axes():
            path = ("inputs", name, "shape", axis)
            expression = dimensions.read(dim)
            if not expression.is_name:
                yield from self.sum_mistakes(path, expression, size)
                continue
            bounds = _mapping(self.dims.get(dim))
            least, most = bounds.get("min"), bounds.get("max")
            if _is_empty(least, most):
                least = most = None
            if isinstance(least, int) and size < least:
                yield self.mistake(
                    path, f"{size} is below the least size of {dim!r}, {least}", f"see `dims.{dim}`"
                )
            elif isinstance(most, int) and size > most:
                yield self.mistake(
                    path,
                    f"{size} is above the largest size of {dim!r}, {most}",
                    f"see `dims.{dim}`",
                )
            step = bounds.get("multiple_of")
            if isinstance(step, int) and step > 0 and size % step:
                yield self.mistake(
                    path, f"{size} is no multiple of {step}", f"see `dims.{dim}.multiple_of`"
                )
            if dim in first and first[dim][2] != size:
                other, other_axis, other_size = first[dim]
                yield self.mistake(
                    path,
                    f"the dimension {dim!r} is {size} here and {other_size} at axis {other_axis} of `{other}`",
                    "one name is one size; give the two different names",
                )
            first.setdefault(dim, (name, axis, size))

    def sum_mistakes(
        self, path: KeyPath, expression: dimensions.Expression, size: int
    ) -> Iterator[Mistake]:
        """Check that a size in a shape is what its expression gives for the examples."""
        sizes = {
            part: self.examples.get(part, example_size(self.dims.get(part)))
            for part in expression.names
        }
        try:
            wanted = expression.evaluate(sizes)
        except ZeroDivisionError:
            return
        if wanted != size and wanted >= 0:
            told = ", ".join(f"{part} is {example}" for part, example in sizes.items())
            yield self.mistake(
                path,
                f"the size is {size} here, and {expression.text!r} is {wanted} where {told}",
                "write the expression in the shape, or say `dims.….example`",
            )

    def named_axes(self) -> Iterator[tuple[str, str, str, int]]:
        for name, axes in self.axes.items():
            shape = self.shape(name) or []
            for axis, dim in _mapping(axes).items():
                if not axis.isascii() or not axis.isdigit() or int(axis) >= len(shape):
                    continue
                size = shape[int(axis)]
                if isinstance(size, int) and isinstance(dim, str):
                    yield name, axis, dim, size

    def bound_mistakes(self) -> Iterator[Mistake]:
        named = [dim for axes in self.axes.values() for dim in _mapping(axes).values()]
        used = set(dimensions.names(dim for dim in named if isinstance(dim, str)))
        for dim, given in self.dims.items():
            path = ("dims", dim)
            if dim not in used:
                yield self.mistake(
                    path,
                    f"no axis is named {dim!r}",
                    did_you_mean(dim, used) or "name axes in a shape, or in `dynamic_axes:`",
                    "key",
                )
            yield from self.one_bound_mistakes(path, _mapping(given))

    def one_bound_mistakes(self, path: KeyPath, bounds: Mapping[str, Any]) -> Iterator[Mistake]:
        least, most = bounds.get("min"), bounds.get("max")
        sizes = bounds.get("verify")
        sizes = sizes if isinstance(sizes, list) else []
        visited = [(("verify", str(index)), size) for index, size in enumerate(sizes)]
        inner: list[tuple[KeyPath, Any]] = [(("example",), bounds.get("example")), *visited]
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield self.mistake(
                (*path, "min"), f"`{dotted(path)}` has a `min` of {least} and a `max` of {most}"
            )
            return
        for keys, size in inner:
            if not isinstance(size, int):
                continue
            low = isinstance(least, int) and size < least
            if low or (isinstance(most, int) and size > most):
                side, bound = ("below `min`", least) if low else ("above `max`", most)
                yield self.mistake((*path, *keys), f"{size} is {side}, {bound}")
            step = bounds.get("multiple_of")
            if isinstance(step, int) and step > 0 and size % step:
                yield self.mistake((*path, *keys), f"{size} is no multiple of {step}")


def _is_empty(least: Any, most: Any) -> bool:
    """Tell whether no size lies within bounds, which is said where they stand."""
    if not isinstance(most, int):
        return False
    return most < 1 or (isinstance(least, int) and least > most)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
