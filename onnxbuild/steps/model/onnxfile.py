"""An ONNX file as the model: what it takes and gives, and running it. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from onnxbuild.errors import ModelError
from onnxbuild.graph.load import read
from onnxbuild.steps.model.names import match_outputs
from onnxbuild.steps.model.user import describe


def touch_external_data(path: str) -> None:
    """Read what lies beside an ONNX file through Python, where it is observed; native readers are not."""
    proto = onnx.load(path, load_external_data=False)
    folder = os.path.dirname(os.path.abspath(path))
    names = {
        entry.value
        for tensor in proto.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in sorted(names):
        beside = os.path.join(folder, name)
        if not os.path.isfile(beside):
            raise ModelError(
                f"{path} keeps weights in {name}, which is not beside it", where="model.onnx"
            )
        with open(beside, "rb") as file:
            file.read(1)


def input_names(path: str) -> tuple[str, ...]:
    """Name the inputs of an ONNX file, less the weights that are inputs too."""
    if not os.path.isfile(path):
        raise ModelError(f"there is no file {path}", where="model.onnx")
    graph = read(path).graph
    return tuple(value.name or "" for value in graph.inputs if value.name not in graph.initializers)


def match_inputs(given: Sequence[str], declared: Sequence[str]) -> dict[str, str]:
    """Map the recipe's input names to the file's: by name where they are the same, else by order."""
    if len(given) != len(declared):
        raise ModelError(
            f"the recipe has {len(declared)} inputs ({', '.join(declared)}), "
            f"and the file {len(given)}: {', '.join(given)}",
            where="inputs",
        )
    taken = {name: name for name in declared if name in given}
    left = [name for name in given if name not in taken]
    return taken | {name: left.pop(0) for name in declared if name not in taken}


def load_predictor(
    path: str, inputs: Sequence[str], outputs: Sequence[str] | None
) -> Callable[[Mapping[str, np.ndarray[Any, Any]]], dict[str, np.ndarray[Any, Any]]]:
    """Give a function that runs the file in onnxruntime."""
    if not os.path.isfile(path):
        raise ModelError(f"there is no file {path}", where="model.onnx")
    read(path)
    touch_external_data(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"onnxruntime cannot load {path}: {describe(error)}", where="model.onnx"
        ) from error
    mapping = match_inputs([item.name for item in session.get_inputs()], inputs)
    given = [item.name for item in session.get_outputs()]
    names, order = match_outputs(given, outputs)

    def predict(item: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        feed = {mapping[name]: np.asarray(item[name]) for name in inputs}
        _check_sizes(feed, session)
        try:
            found = session.run(given, feed)
        except Exception as error:
            raise ModelError(f"the model fails: {describe(error)}", where="model.onnx") from error
        for name, value in zip(given, found, strict=True):
            if not isinstance(value, np.ndarray):
                raise ModelError(
                    f"the file's output {name!r} is a {type(value).__name__} of tensors or a map, and no tensor",
                    where="outputs",
                    hint="verify needs tensors: take them out of it in the model",
                )
        return {name: found[index] for name, index in zip(names, order, strict=True)}

    return predict


def _check_sizes(
    feed: Mapping[str, np.ndarray[Any, Any]], session: onnxruntime.InferenceSession
) -> None:
    for item in session.get_inputs():
        for axis, (fixed, size) in enumerate(zip(item.shape, feed[item.name].shape, strict=False)):
            if isinstance(fixed, int) and fixed != size:
                raise ModelError(
                    f"the file fixes axis {axis} of its input {item.name!r} at {fixed}, and the recipe asks "
                    f"for {size}",
                    where="inputs",
                    hint="a fixed axis of an ONNX file cannot be made dynamic; give it that size in `shape`",
                )
