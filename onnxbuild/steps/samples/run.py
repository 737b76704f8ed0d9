"""Make the samples: each item and input from a seed of its own, so that adding one changes no other."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnxbuild.arrays import Array, ArraysWriter, convert, numpy_type
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import DataError
from onnxbuild.recipe.schema import Input
from onnxbuild.steps.samples.rows import Rows, Wanted
from onnxbuild.steps.samples.shapes import (
    Visit,
    find_neighbours,
    find_spans,
    find_visits,
    name_axes,
    size_of,
)
from onnxbuild.steps.samples.spec import SampleOptions
from onnxbuild.steps.samples.values import draw, make_generator

MOST_BYTES = 4 << 30
"""Bytes that the inputs of one sample may take."""


def samples(work: Work) -> dict[str, Artifact]:
    """Give the ``samples`` and what each is called and sized (``shapes``)."""
    options = build(SampleOptions, work.options)
    if not options.inputs:
        from onnxbuild.steps.samples.declared import read_inputs

        inputs, bounds = read_inputs(options)
        options = replace(options, inputs=inputs, dims={**bounds, **options.dims})
    axes = name_axes(options.inputs, options.dynamic_axes)
    spans = find_spans(options.inputs, axes, options.dims)
    visits = find_visits(spans, find_neighbours(options.inputs, axes))
    check_size(options.inputs, axes, visits)
    rows = _open_rows(work, options.inputs)
    path = os.path.join(work.folder, "samples.npz")
    with ArraysWriter(path) as writer:
        times: dict[str, int] = {}
        for visit in visits:
            occurrence = times[visit.name] = times.get(visit.name, 0) + 1
            writer.add(_make(options, axes, visit, occurrence, rows))
    work.notes["shapes"] = [f"{visit.name}: {_tell(visit.sizes)}" for visit in visits]
    shapes = [{"name": visit.name, "sizes": dict(visit.sizes)} for visit in visits]
    return {"samples": work.put_file(path, "arrays"), "shapes": work.put_json(shapes)}


def check_size(
    inputs: Mapping[str, Input], axes: Mapping[str, Mapping[int, str]], visits: Sequence[Visit]
) -> None:
    """Raise `DataError` where a sample would take absurd memory, with the dim that makes it so."""
    for visit in visits:
        size = 0
        for name, item in inputs.items():
            width = numpy_type(item.dtype).itemsize
            size += width * math.prod(size_of(item, axes[name], visit.sizes, name=name))
        if size <= MOST_BYTES:
            continue
        told = f"the inputs at {_tell(visit.sizes) or 'the example shape'} would take {size / 1e9:.1f} GB"
        if not visit.sizes:
            raise DataError(told, where="inputs", hint="give a smaller example shape")
        dim = max(visit.sizes, key=lambda name: visit.sizes[name])
        raise DataError(
            told,
            where=f"dims.{dim}",
            hint=f"verification visits the largest size: bound it, `dims: {{{dim}: {{max: …}}}}`",
        )


def _open_rows(work: Work, inputs: Mapping[str, Input]) -> dict[str, Rows]:
    taking: dict[str, list[str]] = {}
    for name, item in inputs.items():
        if item.data is not None:
            taking.setdefault(item.data, []).append(name)
    return {
        entry: Rows(entry, work.input(f"data.{entry}"), tuple(names))
        for entry, names in taking.items()
    }


def _make(
    options: SampleOptions,
    axes: Mapping[str, Mapping[int, str]],
    visit: Visit,
    occurrence: int,
    rows: Mapping[str, Rows],
) -> dict[str, Array]:
    shapes = {name: size_of(item, axes[name], visit.sizes) for name, item in options.inputs.items()}
    taken: dict[str, Array] = {}
    for entry, source in rows.items():
        wanted = {
            name: Wanted(shape=shapes[name], dynamic=frozenset(axes[name]))
            for name, item in options.inputs.items()
            if item.data == entry
        }
        taken.update(source.take(wanted))
    sample = {}
    for name, item in options.inputs.items():
        if item.data is not None:
            dtype = numpy_type(item.dtype)
            sample[name] = convert(taken[name], dtype, name=f"{name!r} of data.{item.data}")
        else:
            generator = make_generator(options.seed, visit.name, occurrence, name)
            sample[name] = draw(name, item, shapes[name], generator, visit.sizes)
    return sample


def _tell(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{dim}={size}" for dim, size in sizes.items())
