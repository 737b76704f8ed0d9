"""What a program of ``torch.export`` takes, as it says itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, get_args

import torch

from onnxbuild.errors import DataError, ModelError
from onnxbuild.recipe import dimensions
from onnxbuild.recipe.schema import Dim, DType, Input

DTYPES: tuple[DType, ...] = get_args(DType)


def read_inputs(path: str) -> tuple[dict[str, Input], dict[str, Dim]]:
    """Give a program's inputs, and the bounds of their dynamic dimensions.

    A dimension has the name of the first axis that it is (``x_0``): programs do not keep names. One that follows from
    others is an expression of them.
    Raises `ModelError` where there is no such file, `DataError` for an input that no values can be made for.
    """
    if not os.path.isfile(path):
        raise ModelError(f"there is no file {path}", where="model.program")
    program = torch.export.load(path)
    taken = set(program.graph_signature.user_inputs)
    names: dict[str, str] = {}
    found: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in taken:
            continue
        value: Any = node.meta["val"]
        for axis, size in enumerate(value.shape):
            if not isinstance(size, int) and size.node.expr.is_Symbol:
                names.setdefault(str(size), f"{node.name}_{axis}")
        found[node.name] = value
    inputs = {}
    for name, value in found.items():
        shape = tuple(_name(size, name, axis, names) for axis, size in enumerate(value.shape))
        inputs[name] = _input(name, shape, str(value.dtype).removeprefix("torch."))
    return inputs, _bounds(program.range_constraints, names)


def _name(size: Any, name: str, axis: int, names: Mapping[str, str]) -> int | str:
    if isinstance(size, int):
        return size
    try:
        expression = dimensions.parse(str(size))
        text = dimensions.substitute(expression.text, lambda symbol: names[symbol])
        return dimensions.parse(text).text
    except (dimensions.DimensionError, KeyError) as error:
        raise DataError(
            f"axis {axis} of the program's input {name!r} follows from others: it is {size}",
            where="inputs",
            hint="declare the inputs in the recipe",
        ) from error


def _bounds(constraints: Mapping[Any, Any], names: Mapping[str, str]) -> dict[str, Dim]:
    bounds = {}
    for symbol, span in constraints.items():
        if str(symbol) not in names:
            continue
        least, most = (
            int(end) if end.is_Integer and end.is_finite else None
            for end in (span.lower, span.upper)
        )
        # torch writes "no bound" as a size that no tensor has.
        most = None if most is None or most >= 2**31 else most
        bounds[names[str(symbol)]] = Dim(min=least, max=most)
    return bounds


def _input(name: str, shape: tuple[int | str, ...], dtype: str) -> Input:
    for known in DTYPES:
        if dtype == known:
            return Input(shape=shape, dtype=known)
    raise DataError(
        f"the program's input {name!r} is of type {dtype}, for which no values can be made",
        where="inputs",
    )
