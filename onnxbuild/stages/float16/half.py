"""Numbers in half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxbuild.graph.weights import release


def to_half(
    array: npt.NDArray[Any], min_positive_val: float, max_finite_val: float
) -> npt.NDArray[np.float16]:
    """Convert as `onnxconverter_common.float16.convert_np_to_float16` does, in a fraction of the time.

    Zero, infinities and NaN stay; what lies between is moved into the given limits, sign kept.
    """
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    magnitude = np.abs(array)
    small = magnitude < min_positive_val
    if small.any():
        small &= magnitude > 0
        half[small] = np.copysign(np.float16(min_positive_val), array[small])
    large = magnitude > max_finite_val
    if large.any():
        large &= np.isfinite(magnitude)
        half[large] = np.copysign(np.float16(max_finite_val), array[large])
    return half


def halve(
    tensor: ir.ExternalTensor, min_positive_val: float, max_finite_val: float, root: str
) -> ir.LazyTensor:
    """Give the half precision of a float32 blob, made when someone looks at it."""
    source = ir.ExternalTensor(
        tensor.location,
        offset=tensor.offset,
        length=tensor.length,
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name or "",
        base_dir=root,
    )

    def make() -> ir.Tensor:
        half = to_half(source.numpy(), min_positive_val, max_finite_val)
        release(source)
        return ir.Tensor(half, dtype=ir.DataType.FLOAT16, name=tensor.name)

    return ir.LazyTensor(
        make, dtype=ir.DataType.FLOAT16, shape=ir.Shape(tensor.shape.numpy()), name=tensor.name
    )
