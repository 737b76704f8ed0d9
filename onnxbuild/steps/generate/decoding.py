"""Greedy decoding, whatever runs the model: what an output feeds is the next step's input.

Tokens are the integer input that an output of floats with one axis more feeds: the largest along the last
axis, at the last position. Where other outputs feed inputs too (a cache, a state), the next step gets the new
token alone; where none does, the tokens so far and the new one. All other inputs are made anew, with the sizes
that the dimensions have by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxbuild.arrays import BFLOAT16, Array, convert, is_float, numpy_type, read_items
from onnxbuild.errors import DataError, ModelError
from onnxbuild.recipe import dimensions
from onnxbuild.steps.generate.spec import Decoding
from onnxbuild.steps.samples.shapes import name_axes, size_of
from onnxbuild.steps.samples.values import draw, make_generator

Item: TypeAlias = Mapping[str, Array]
Predict: TypeAlias = Callable[[Item], Mapping[str, Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a model wrote."""

    tokens: list[list[int]]
    """By row, its tokens."""

    sizes: Mapping[str, int]
    """The dimensions at the first step."""


def decode(
    predict: Predict, decoding: Decoding, samples: str, shapes: Sequence[Mapping[str, Any]]
) -> Written:
    """Write the tokens that follow a sample.

    Raises `DataError` where outputs do not fit what they feed, `ModelError` where no token is the likeliest.
    """
    axes = name_axes(decoding.inputs, decoding.dynamic_axes)
    index = _pick(decoding, axes, shapes)
    item = dict(next(item for i, item in enumerate(read_items(samples)) if i == index))
    start: dict[str, int] = dict(shapes[index]["sizes"])
    sizes, steps = start, []
    for number in range(decoding.count):
        outputs = predict(item)
        links = _links(decoding, item, outputs)
        token = _greedy(outputs[links.logits], item[links.tokens].ndim, links.logits, number)
        steps.append(token.reshape(-1))
        if number + 1 == decoding.count:
            break
        fed = {links.tokens: token.astype(item[links.tokens].dtype)}
        if links.states:
            fed |= {name: outputs[output] for output, name in links.states.items()}
        else:
            fed[links.tokens] = np.concatenate([item[links.tokens], fed[links.tokens]], axis=-1)
        sizes = _sizes(decoding, axes, sizes, fed)
        item = _next(decoding, axes, sizes, item, fed, number + 1)
    tokens = np.stack(steps, axis=-1).astype(np.int64)
    return Written(tokens=tokens.tolist(), sizes=start)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Links:
    logits: str
    tokens: str
    states: Mapping[str, str]


def _pick(
    decoding: Decoding,
    axes: Mapping[str, Mapping[int, str]],
    shapes: Sequence[Mapping[str, Any]],
) -> int:
    """Choose the sample to begin with: the example, with an empty cache where it may be empty."""
    example = next(i for i, shape in enumerate(shapes) if shape["name"] == "example")
    fed = [name for name in decoding.feeds.values() if name in axes]
    empty = {
        dim
        for name in fed
        for dim in axes[name].values()
        if dim in decoding.dims and decoding.dims[dim].min == 0
    }
    wanted = {**shapes[example]["sizes"], **dict.fromkeys(empty, 0)}
    return next((i for i, shape in enumerate(shapes) if shape["sizes"] == wanted), example)


def _links(decoding: Decoding, item: Item, outputs: Item) -> _Links:
    """Tell which output gives the tokens, and which are states."""
    tokens: dict[str, str] = {}
    states: dict[str, str] = {}
    for output, name in decoding.feeds.items():
        if output not in outputs or name not in item:
            known = outputs if output not in outputs else item
            raise DataError(
                f"there is no {'output' if output not in outputs else 'input'} "
                f"{output if output not in outputs else name!r}",
                where=f"feeds.{output}",
                hint=f"there are: {', '.join(known)}",
            )
        given, taken = outputs[output], item[name]
        if is_float(given.dtype) and taken.dtype.kind in "iu" and given.ndim == taken.ndim + 1:
            tokens[output] = name
        elif given.ndim == taken.ndim and is_float(given.dtype) == is_float(taken.dtype):
            states[output] = name
        else:
            raise DataError(
                f"the output {output!r} ({given.dtype} {list(given.shape)}) cannot become the input {name!r}"
                f" ({taken.dtype} {list(taken.shape)})",
                where=f"feeds.{output}",
                hint="numbers of the same kind and as many axes; or floats with one axis more, whose largest is the"
                " next token",
            )
    if len(tokens) != 1:
        raise DataError(
            "one output must feed the tokens, an integer input, and "
            + (f"these do: {', '.join(tokens)}" if tokens else "none does"),
            where="feeds",
            hint="as in outputs: {logits: {feeds: input_ids}}",
        )
    ((logits, name),) = tokens.items()
    return _Links(logits=logits, tokens=name, states=states)


def _greedy(logits: Array, axes: int, name: str, number: int) -> Array:
    """Give the next token of each row; with the axis of positions where the tokens have one."""
    wide = logits.astype(np.float32) if logits.dtype == BFLOAT16 else logits
    last = wide[..., -1:, :] if axes > 1 else wide
    if np.isnan(last).any():
        # To numpy the first NaN is the largest, and two models that give some would write the same.
        raise ModelError(
            f"the output {name!r} has NaN among what chooses token {number + 1}",
            where="verify.generate",
            hint="look at the model at the sizes that it has by then, or generate fewer tokens",
        )
    return np.asarray(last.argmax(-1))


def _sizes(
    decoding: Decoding,
    axes: Mapping[str, Mapping[int, str]],
    sizes: Mapping[str, int],
    fed: Item,
) -> dict[str, int]:
    """Give the sizes of the dimensions as the arrays have them that are fed."""
    found: dict[str, tuple[int, str]] = {}
    for name, array in fed.items():
        for axis, size in enumerate(array.shape):
            dim = axes[name].get(axis)
            if dim is None and size != decoding.inputs[name].shape[axis]:
                raise DataError(
                    f"axis {axis} of {name!r} is {decoding.inputs[name].shape[axis]}, and what feeds it has {size}"
                    " there",
                    where=f"inputs.{name}.shape",
                    hint="what grows from token to token needs a dynamic dimension",
                )
            if dim is None or not dimensions.read(dim).is_name:
                continue
            known, other = found.setdefault(dim, (size, name))
            if known != size:
                raise DataError(
                    f"{dim!r} is {known} in what feeds {other!r}, and {size} in what feeds {name!r}",
                    where="feeds",
                    hint="they are two dimensions: give them two names",
                )
            most = decoding.dims[dim].max if dim in decoding.dims else None
            if most is not None and size > most:
                raise DataError(
                    f"{decoding.count} tokens take a {dim!r} of {size} and more, and it is bound to {most}",
                    where=f"dims.{dim}",
                    hint="generate fewer tokens, or raise `max`",
                )
    return {**sizes, **{dim: size for dim, (size, _) in found.items()}}


def _next(
    decoding: Decoding,
    axes: Mapping[str, Mapping[int, str]],
    sizes: Mapping[str, int],
    last: Item,
    fed: Item,
    number: int,
) -> dict[str, Array]:
    """Make the inputs of the next step: what is fed, and the others with the sizes of now."""
    item: dict[str, Array] = {}
    for name, declared in decoding.inputs.items():
        dtype = numpy_type(declared.dtype)
        if name in fed:
            item[name] = _as_declared(fed[name], dtype, name)
            continue
        shape = size_of(declared, axes[name], sizes, name=name)
        is_made = declared.values is not None or declared.fill is not None
        if shape == last[name].shape and not is_made:
            # What was drawn, or is data: an image, or what an encoder gave.
            item[name] = last[name]
            continue
        if declared.data is not None:
            raise DataError(
                f"{name!r} has the shape {list(last[name].shape)} in the data, and the next token needs {list(shape)}",
                where=f"inputs.{name}",
                hint="say how it goes on: `fill:`, or `values:` with a function of the shape",
            )
        generator = make_generator(decoding.seed, "generate", number, name)
        item[name] = draw(name, declared, shape, generator, sizes)
    return item


def _as_declared(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    """Give a state the type of its input: half precision that a variant gives is fed as it is."""
    if is_float(array.dtype) and array.dtype.itemsize < dtype.itemsize:
        return array
    return convert(array, dtype, name=f"what feeds {name!r}")
