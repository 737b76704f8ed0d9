"""Ranges of activations as plain numbers, without loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

from onnxbuild.errors import StageError

KEPT = ("lowest", "highest", "avg", "std")
"""What the quantizers read; histograms are how it was found."""


def to_plain(ranges: TensorsData) -> dict[str, Any]:
    """Write ranges as plain values. Raises `StageError` where a tensor held NaN or infinity.

    A float32 is a float64 exactly, and JSON keeps that.
    """
    tensors: dict[str, dict[str, Any]] = {}
    for name in sorted(ranges.keys()):
        found = {
            key: np.asarray(getattr(ranges[name], key))
            for key in KEPT
            if hasattr(ranges[name], key)
        }
        for key, value in found.items():
            if not np.isfinite(value).all():
                raise StageError(
                    f"the activation {name!r} is not finite on the calibration data ({key} {value})",
                    hint="look at the data, or at the model in float32",
                )
        tensors[name] = {
            key: {"dtype": str(value.dtype), "value": value.tolist()}
            for key, value in found.items()
        }
    return {"method": ranges.calibration_method.name, "tensors": tensors}


def from_plain(plain: Mapping[str, Any]) -> TensorsData:
    """Read back what `to_plain` wrote."""
    return TensorsData(
        CalibrationMethod[plain["method"]],
        {
            name: TensorData(
                **{key: np.array(kept["value"], dtype=kept["dtype"]) for key, kept in found.items()}
            )
            for name, found in plain["tensors"].items()
        },
    )
