"""Make of an item of data what a session takes."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from onnxbuild.errors import DataError

DTYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16,
    "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64, "tensor(bool)": np.bool_,
}  # fmt: skip


class Feeder:
    """Picks a session's inputs out of items; what else they hold, such as labels, is left."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.count = 0
        self._inputs = {value.name: value for value in session.get_inputs()}

    def feed(self, item: Mapping[str, npt.NDArray[Any]], index: int) -> dict[str, npt.NDArray[Any]]:
        """Give the inputs of the item. Raises `DataError` that names what is missing or does not fit."""
        self.count = index + 1
        missing = [name for name in self._inputs if name not in item]
        if missing:
            near = get_close_matches(missing[0], list(item), n=1)
            raise DataError(
                f"item {index} of the calibration data has no {', '.join(map(repr, missing))}",
                hint=f"did you mean {near[0]!r}?"
                if near
                else f"the item has: {', '.join(item) or 'nothing'}",
            )
        return {name: self._fit(name, np.asarray(item[name]), index) for name in self._inputs}

    def _fit(self, name: str, array: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
        wanted = self._inputs[name]
        where = f"item {index}, {name!r}"
        shape, rank = list(array.shape), len(wanted.shape)
        if array.ndim != rank:
            hint = f"add the batch axis: {name}[None]" if array.ndim == rank - 1 else ""
            raise DataError(
                f"the calibration data have the shape {shape}, the model takes {wanted.shape}",
                where=where,
                hint=hint,
            )
        fixed = [
            axis
            for axis, size in enumerate(wanted.shape)
            if isinstance(size, int) and size != shape[axis]
        ]
        if fixed:
            raise DataError(
                f"the calibration data have the shape {shape}, the model takes {wanted.shape}",
                where=where,
                hint=f"axis {fixed[0]} is not dynamic: see dynamic_axes",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError("the calibration data hold NaN or infinity", where=where)
        dtype = DTYPES.get(wanted.type)
        if dtype is None or array.dtype == dtype:
            return array
        if not np.can_cast(array.dtype, dtype, casting="same_kind"):
            raise DataError(
                f"the calibration data are {array.dtype}, the model takes {np.dtype(dtype)}",
                where=where,
            )
        return array.astype(dtype)
