"""Break one weight and measure again: a comparison that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import numpy_helper

from onnxbuild.arrays import BFLOAT16, Array
from onnxbuild.errors import ModelError
from onnxbuild.graph.emulate import runnable
from onnxbuild.graph.sessions import find_weights
from onnxbuild.graph.weights import release
from onnxbuild.steps.running import Runner
from onnxbuild.steps.verify.compare import Comparison

MOST_TRIES = 4
"""Weights that are broken, one at a time."""

PLAIN_SCALED = 0.5
"""A scaled error from which no further weight need be tried: it fails every sensible tolerance…"""
PLAIN_COSINE = 0.9
"""…together with a cosine below this."""

NUMPY_TYPES = {
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
    ir.DataType.INT8,
    ir.DataType.UINT8,
}
"""Types of the weights that can be broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A weight and where its first user stands."""

    value: ir.Value
    elements: int
    rank: int
    position: int


def perturb(
    path: str,
    model: ir.Model,
    threads: int,
    item: Mapping[str, Array],
    reference: Mapping[str, Array],
) -> dict[str, Any]:
    """Break a few weights, one at a time, and give the errors that each makes on one sample.

    The last matrix is first, then the largest. ``{"tried": […]}``, each with ``weight`` and ``outputs``
    as a comparison gives them; ``{"none": reason}`` for a model that has no weight to break.
    """
    tried = []
    for candidate in list(find_candidates(model))[:MOST_TRIES]:
        outcome = _try(path, threads, candidate.value, item, reference)
        tried.append(outcome)
        if _is_plain(outcome):
            break
    if not tried:
        return {"none": "the model has no weights that could be broken"}
    return {"tried": tried}


def find_candidates(model: ir.Model) -> Iterator[Candidate]:
    """Give the weights to break, the most telling first."""
    # Nodes of branches and loops too: a weight may be used nowhere else.
    position = {node: index for index, node in enumerate(model.graph.all_nodes())}
    found = []
    for value in model.graph.initializers.values():
        tensor = value.const_value
        users = [position[node] for node, _ in value.uses() if node in position]
        if tensor is None or tensor.dtype not in NUMPY_TYPES or not users or tensor.size < 1:
            continue
        found.append(
            Candidate(
                value=value, elements=tensor.size, rank=len(tensor.shape), position=max(users)
            )
        )
    # Matrices carry the signal; scales, zero points and biases are of lower rank.
    matrices = [item for item in found if item.rank > 1] or found
    by_place = sorted(matrices, key=lambda item: item.position, reverse=True)
    by_size = sorted(matrices, key=lambda item: item.elements, reverse=True)
    order = [*by_place[:1], *by_size, *by_place]
    yield from {id(item): item for item in order}.values()


def _try(
    path: str,
    threads: int,
    value: ir.Value,
    item: Mapping[str, Array],
    reference: Mapping[str, Array],
) -> dict[str, Any]:
    tensor = value.const_value
    name = str(value.name)
    if tensor is None:
        return {"weight": name, "failed": "it has no value"}
    broken = _break(tensor.numpy())
    release(tensor)
    try:
        runner = _load_with(path, threads, name, broken, isinstance(tensor, ir.ExternalTensor))
        outputs = runner.run(
            item, "the example", [key for key in reference if key in runner.outputs]
        )
    except ModelError as error:
        return {"weight": name, "failed": error.what}
    results = {}
    for key, output in outputs.items():
        comparison = Comparison()
        comparison.add(reference[key], output)
        results[key] = comparison.result()
    return {"weight": name, "outputs": results}


def _load_with(path: str, threads: int, name: str, array: Array, external: bool) -> Runner:
    """Load a model with other values for one of its weights; nothing is written."""
    if external:
        kept = (
            ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
                array.view(np.uint16), onnx.TensorProto.BFLOAT16
            )
            if array.dtype == BFLOAT16
            else ort.OrtValue.ortvalue_from_numpy(array)
        )
        # Not add_initializer: from the level `basic` on it leaves weights in half precision as they are.
        return Runner(
            path, threads, lambda options: options.add_external_initializers([name], [kept])
        )
    # onnxruntime takes the graph's own values of a weight inside it, whatever is added.
    proto = runnable(path)
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(_to_tensor(array, name))
    return Runner(proto.SerializeToString(), threads, lambda options: find_weights(options, path))


def _to_tensor(array: Array, name: str) -> onnx.TensorProto:
    if array.dtype != BFLOAT16:
        return numpy_helper.from_array(array, name)
    return onnx.helper.make_tensor(
        name, onnx.TensorProto.BFLOAT16, array.shape, array.tobytes(), raw=True
    )


def _break(array: Array) -> Array:
    """Negate, double where the type has room, and shift by one place.

    Negating alone changes nothing before an absolute value, doubling nothing before a normalization.
    """
    if array.dtype == np.uint8:
        broken = 255 - array
    elif array.dtype == np.int8:
        broken = -np.maximum(array, -127)
    else:
        with np.errstate(over="ignore"):
            broken = -2 * array
    return np.ascontiguousarray(np.roll(broken, 1))


def _is_plain(outcome: Mapping[str, Any]) -> bool:
    """Tell whether no sensible tolerance would let this pass."""
    if "failed" in outcome:
        return False
    for result in outcome["outputs"].values():
        if not result["finite"] or result.get("problem"):
            return True
        errors = (result["scaled"], result["cosine"])
        if None not in errors and errors[0] > PLAIN_SCALED and errors[1] < PLAIN_COSINE:
            return True
    return False
