"""Run the original model, one sample at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxbuild.arrays import ArraysWriter, convert, is_float, numpy_type, read_items
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import DataError, ModelError
from onnxbuild.steps.model.predicting import Arrays, Predict, load_predictor
from onnxbuild.steps.reference.sizes import explain_first, explain_sizes
from onnxbuild.steps.reference.spec import ReferenceOptions


def warm() -> None:
    """Import torch before workers are forked."""
    import torch

    torch.set_num_threads(1)


def reference(work: Work) -> dict[str, Artifact]:
    """Give the original model's outputs for each sample."""
    return {"reference": _run(work, "samples", "sample")}


def predict(work: Work) -> dict[str, Artifact]:
    """Give the original model's outputs for each item of a data entry."""
    return {"predictions": _run(work, "items", "item")}


def _run(work: Work, source: str, word: str) -> Artifact:
    options = build(ReferenceOptions, work.options)
    predictor: Predict | None = None
    ranges: dict[str, list[float]] = {}
    count = 0
    first: Arrays | None = None
    path = os.path.join(work.folder, "outputs.npz")
    with ArraysWriter(path) as writer:
        for item in read_items(work.input(source)):
            inputs = tuple(options.inputs) or _own_inputs(options, item)
            _check_item(item, inputs, f"{word} {count}")
            if predictor is None:
                predictor = load_predictor(
                    options.model, inputs, options.constants, options.outputs
                )
            values = _cast(item, inputs, options, f"{word} {count}")
            try:
                outputs = predictor(values)
            except ModelError as error:
                if source != "samples":
                    raise
                names = {name: options.inputs[name].shape for name in options.inputs}
                if first is None:
                    raise explain_first(error, predictor, values, names) from error
                raise explain_sizes(error, predictor, first, values, names) from error
            first = first or values
            _check_finite(outputs, item, f"{word} {count}")
            _widen(ranges, outputs)
            writer.add(outputs)
            count += 1
    work.notes[word + "s"] = count
    work.notes["ranges"] = ranges
    return work.put_file(path, "arrays")


def _own_inputs(options: ReferenceOptions, item: Arrays) -> tuple[str, ...]:
    """Give the inputs where the recipe names none: the ONNX file's, else all that an item has."""
    if options.model.onnx is None:
        return tuple(item)
    from onnxbuild.steps.model.onnxfile import input_names

    return input_names(options.model.onnx)


def _check_item(item: Arrays, inputs: Sequence[str], what: str) -> None:
    missing = [name for name in inputs if name not in item]
    if missing:
        raise DataError(
            f"{what} has no {', '.join(missing)}",
            hint=f"it has: {', '.join(item)}; the model's inputs are {', '.join(inputs)}",
        )


def _cast(
    item: Arrays, inputs: Sequence[str], options: ReferenceOptions, what: str
) -> dict[str, np.ndarray[Any, Any]]:
    """Give the inputs with the types that the recipe declares, as everything that runs the model has them."""
    return {
        name: convert(
            item[name], numpy_type(options.inputs[name].dtype), name=f"{name!r} of {what}"
        )
        if name in options.inputs
        else item[name]
        for name in inputs
    }


def _check_finite(outputs: Arrays, item: Arrays, what: str) -> None:
    for name, values in outputs.items():
        is_number = is_float(values.dtype) or values.dtype.kind == "c"
        if not is_number or bool(np.isfinite(values).all()):
            continue
        bad = int(values.size - np.isfinite(values).sum())
        sizes = ", ".join(
            f"{key} {'x'.join(map(str, value.shape)) or 'scalar'}" for key, value in item.items()
        )
        raise ModelError(
            f"the model gives {bad} of {values.size} values that are NaN or infinite in {name!r} for {what} "
            f"({sizes}), so nothing can be compared with it",
            hint="look at the model at these shapes, or narrow the inputs' `range` or the `dims`",
        )


def _widen(ranges: dict[str, list[float]], outputs: Arrays) -> None:
    for name, values in outputs.items():
        if not values.size or values.dtype.kind == "c":
            continue
        low, high = float(values.min()), float(values.max())
        known = ranges.get(name, [low, high])
        ranges[name] = [min(known[0], low), max(known[1], high)]
