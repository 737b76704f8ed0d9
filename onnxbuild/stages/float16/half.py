"""Numbers in half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxbuild.graph.weights import blob_digest, release


def to_half(array: npt.NDArray[Any], dtype: ir.DataType, largest: float) -> npt.NDArray[Any]:
    """Round to the nearest; what is larger than `largest` in size, but not infinite, becomes that."""
    half: npt.NDArray[Any]
    with np.errstate(over="ignore"):
        half = array.astype(dtype.numpy())
    magnitude = np.abs(array)
    large = (magnitude > largest) & np.isfinite(magnitude)
    if large.any():
        half[large] = np.copysign(largest, array[large]).astype(half.dtype)
    return half


def halve(
    tensor: ir.TensorProtocol, dtype: ir.DataType, largest: float, name: str
) -> ir.TensorProtocol:
    """Give a float32 tensor in half precision; that of a blob is made when someone looks at it."""
    shape = ir.Shape(tensor.shape.numpy())

    def make() -> ir.Tensor:
        half = to_half(tensor.numpy(), dtype, largest)
        release(tensor)
        return ir.Tensor(half, dtype=dtype, name=name, shape=shape)

    if blob_digest(tensor) is None:
        return make()
    return ir.LazyTensor(make, dtype=dtype, shape=shape, name=name)
