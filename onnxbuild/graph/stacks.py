"""Weights of matrix products that are stacks of matrices, such as experts: a scale for each column of each matrix.

onnxruntime's quantizers write one scale for each column over the whole stack, and its kernels refuse that when
the model runs: they want the shape ``[…, 1, columns]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnxruntime.quantization.quant_utils import get_qmin_qmax_for_qType

from onnxbuild.graph.load import model_graphs
from onnxbuild.graph.weights import release, weights

SUFFIX = "_stack_quantized"
"""What is appended to the name of a stack that became integers."""

MATRIX = 2
"""Axes of a single matrix."""

WEIGHT = {"MatMulInteger": (1, 3), "QLinearMatMul": (3, 5)}
"""The positions of the weight and of its zero points among the inputs of the integer products."""

SCALE = 4
"""The position of the weight's scales among the inputs of QLinearMatMul."""

Array = npt.NDArray[Any]


def scale_stacks(
    before: ir.Model, after: ir.Model, *, reduce_range: bool, symmetric: bool | None = None
) -> None:
    """Give each matrix of a stack that the library quantized by columns its own scales, in place.

    `before` has the float weights. `reduce_range` and `symmetric` are as the library was asked; None is its own
    choice, by type.
    """
    floats = {value.name: value for value in weights(before)}
    made: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = {}
    for node, old in list(_find_stacks(after)):
        name = (old.name or "").removesuffix("_quantized")
        if name not in made:
            made[name] = _quantize(floats[name], old, reduce_range, symmetric)
            assert old.graph is not None  # noqa: S101 - it is an initializer
            for value in made[name]:
                old.graph.register_initializer(value)
        _use(node, *made[name])
    for graph in model_graphs(after):
        for value in list(graph.initializers.values()):
            parts = ("_quantized", "_scale", "_zero_point")
            is_old = any(value.name == f"{name}{part}" for name in made for part in parts)
            if is_old and not value.uses() and not value.is_graph_output():
                graph.initializers.pop(value.name or "")


def _find_stacks(model: ir.Model) -> Iterator[tuple[ir.Node, ir.Value]]:
    """Give the integer products that hold a stack with scales of a single row, and the stack."""
    for graph in model_graphs(model):
        for node in graph:
            places = WEIGHT.get(node.op_type)
            if places is None or len(node.inputs) <= places[1]:
                continue
            weight, zeros = (node.inputs[place] for place in places)
            if weight is None or zeros is None:
                continue
            tensor, other = weight.const_value, zeros.const_value
            if tensor is None or other is None or not weight.is_initializer():
                continue
            if len(tensor.shape) > MATRIX and len(other.shape) == 1:
                yield node, weight


def _quantize(
    source: ir.Value, old: ir.Value, reduce_range: bool, symmetric: bool | None
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Make the integers, scales and zero points of a stack."""
    tensor, integers = source.const_value, old.const_value
    assert tensor is not None  # noqa: S101 - the library has made integers of it
    assert integers is not None  # noqa: S101 - `_find_stacks` has looked
    if symmetric is None:
        symmetric = integers.dtype == ir.DataType.INT8
    array = tensor.numpy()
    least, most = get_qmin_qmax_for_qType(int(integers.dtype), reduce_range, symmetric)
    low = np.minimum(array.min(axis=-2, keepdims=True), 0).astype(np.float64)
    high = np.maximum(array.max(axis=-2, keepdims=True), 0).astype(np.float64)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    scales = ((high - low) / (float(most) - float(least))).astype(array.dtype)
    scales[scales == 0] = 1
    zeros = np.clip(np.rint(float(least) - low / scales), least, most)
    rounded = np.clip(np.rint(array / scales) + zeros, least, most).astype(integers.dtype.numpy())
    dtype, own = array.dtype, source.name or ""
    del array
    release(tensor)
    return (
        _constant(own + SUFFIX, rounded),
        _constant(f"{own}{SUFFIX}_scale", scales.astype(dtype)),
        _constant(f"{own}{SUFFIX}_zero_point", zeros.astype(integers.dtype.numpy())),
    )


def _use(node: ir.Node, integers: ir.Value, scales: ir.Value, zeros: ir.Value) -> None:
    weight, zero = WEIGHT[node.op_type]
    old = (node.inputs[weight].name or "").removesuffix("_quantized")
    node.replace_input_with(weight, integers)
    node.replace_input_with(zero, zeros)
    if node.op_type == "QLinearMatMul":
        node.replace_input_with(SCALE, scales)
        return
    # The sums are cast to floats and multiplied with the product of both scales.
    for cast, _ in node.outputs[0].uses():
        for product, _ in cast.outputs[0].uses():
            for value in product.inputs:
                both = value.producer() if value is not None else None
                for index, factor in enumerate(both.inputs if both is not None else ()):
                    if both is not None and factor is not None and factor.name == f"{old}_scale":
                        both.replace_input_with(index, scales)


def _constant(name: str, array: Array) -> ir.Value:
    tensor = ir.Tensor(array, name=name)
    return ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
