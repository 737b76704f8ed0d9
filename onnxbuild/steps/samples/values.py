"""The values of one input: drawn, filled, or from a function of the user's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxbuild import entries
from onnxbuild.arrays import Array, convert, numpy_type, to_array
from onnxbuild.core.digest import PREFIX, digest_value
from onnxbuild.errors import DataError
from onnxbuild.recipe.schema import Input
from onnxbuild.steps.model.user import user_code


def make_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Make a generator of its own for what `names` name, so that no other draws from it."""
    digest = digest_value([seed, *names]).removeprefix(PREFIX)
    return np.random.default_rng(int(digest[:32], 16))


def draw(
    name: str,
    item: Input,
    shape: tuple[int, ...],
    generator: np.random.Generator,
    sizes: Mapping[str, int] = {},
) -> Array:
    """Give an input's values, where the dims have these `sizes`. Raises `DataError` where its source cannot."""
    dtype = numpy_type(item.dtype)
    if item.values is not None:
        return _call(name, item.values, shape, dtype, generator, sizes)
    if item.fill is not None:
        return _fill(name, item.fill, shape, dtype)
    if item.range is not None:
        return _draw_range(name, item.range, shape, dtype, generator)
    if dtype.kind in "biu":
        return generator.integers(0, 2, shape).astype(dtype)
    wide = np.float64 if dtype == np.float64 else np.float32
    return generator.standard_normal(shape, dtype=wide).astype(dtype)


def _asked(function: Any, sizes: Mapping[str, int]) -> dict[str, int]:
    """Give the sizes of the dims that a function asks for by keyword: ``def positions(shape, generator, *, past)``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {
        name: sizes[name]
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name in sizes
    }


def _fill(name: str, value: float, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    array = np.full(shape, value)
    if dtype.kind in "biu" and float(value).is_integer():
        array = np.full(shape, int(value))
    return convert(array, dtype, name=f"`fill` of {name!r}")


def _draw_range(
    name: str,
    bounds: tuple[float, float],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    generator: np.random.Generator,
) -> Array:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DataError(
            f"no value is in [{low}, {high})",
            where=f"inputs.{name}.range",
            hint="the first number must be less than the second",
        )
    if dtype.kind not in "biu":
        values = generator.uniform(low, high, shape).astype(dtype)
        # Rounding to fewer bits can reach the upper bound, which is not in the range.
        below = np.nextafter(dtype.type(high), dtype.type(-np.inf))
        return np.asarray(np.where(values < dtype.type(high), values, below))
    first, last = math.ceil(low), math.ceil(high)
    try:
        return generator.integers(first, last, shape, dtype=dtype.type)
    except ValueError as error:
        raise DataError(
            f"no whole number is in [{low}, {high})"
            if first >= last
            else f"{dtype} cannot hold all whole numbers in [{low}, {high})",
            where=f"inputs.{name}.range",
        ) from error


def _call(
    name: str,
    entry: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    generator: np.random.Generator,
    sizes: Mapping[str, int],
) -> Array:
    function = entries.load(entry)
    with user_code(f"the values of {name!r} cannot be made", kind=DataError):
        given = to_array(function(shape, generator, **_asked(function, sizes)))
    if given.shape != shape:
        raise DataError(
            f"{entry} gave values of shape {list(given.shape)} for {name!r}, and was asked for {list(shape)}",
            where=f"inputs.{name}.values",
            hint="return an array of the shape that the function is called with",
        )
    values = convert(given, dtype, name=f"what {entry} gave for {name!r}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(
            f"{entry} gave values for {name!r} that are NaN or infinite",
            where=f"inputs.{name}.values",
        )
    return values
