"""Errors of an output channel by channel.

A column of small values (a class's score, one of several heads in one tensor) can be wrong throughout while
the error over the output's largest value, and the cosine, say nothing. So each channel is also measured by
its own largest value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxbuild.steps.verify.hull import Floats

NOISE = 4 * float(np.finfo(np.float32).eps)
"""Share of an output's largest value that rounding in single precision leaves of a sum: four units in the last
place. What is smaller may be rounding, of the reference too, and is judged neither good nor bad."""


class Channels:
    """The largest values and errors of each channel of an output, over all samples of all shapes.

    Channels lie along axis 1, as in torch's images, or along the last, as in its sequences and scores: both
    are measured. Axis 0 is taken for the batch. An axis whose size differs between samples has none.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, Floats] = {}
        self._errors: dict[int, Floats] = {}
        self._values: dict[int, int] = {}
        self._varying: set[int] = set()

    def add(self, shape: Sequence[int], sizes: Floats, errors: Floats) -> None:
        """Add a sample: sizes of the reference's values, and errors, all finite and in the order of `shape`."""
        rank = len(shape)
        for axis in sorted({1, rank - 1}):
            if not 0 < axis < rank or axis in self._varying:
                continue
            others = tuple(other for other in range(rank) if other != axis)
            size = sizes.reshape(shape).max(axis=others)
            error = errors.reshape(shape).max(axis=others)
            known = self._sizes.setdefault(axis, size)
            if known.shape != size.shape:
                self._varying.add(axis)
                continue
            self._sizes[axis] = np.maximum(known, size)
            self._errors[axis] = np.maximum(self._errors.get(axis, error), error)
            self._values[axis] = self._values.get(axis, 0) + sizes.size // size.size

    def result(self) -> list[dict[str, Any]]:
        """Give the worst channel of each axis.

        With r the largest reference value of a channel, d its largest error and R the output's largest
        value, ``error`` is (d - n R) / r with n = `NOISE`, and at least 0. Channels with r of at most n R
        are ``unjudged``, a number; ``error`` is None where all are. ``values`` is how many a channel had: of
        few, all may be small by chance.
        """
        axes = (axis for axis in self._sizes if axis not in self._varying)
        return [self._worst(axis, self._sizes[axis]) for axis in axes]

    def _worst(self, axis: int, sizes: Floats) -> dict[str, Any]:
        noise = NOISE * float(sizes.max())
        judged = sizes > noise
        found: dict[str, Any] = {
            "axis": axis,
            "size": int(sizes.size),
            "values": self._values[axis],
            "unjudged": int(sizes.size - judged.sum()),
            "error": None,
        }
        if judged.any():
            errors = np.full(sizes.shape, -1.0)
            np.divide(np.maximum(self._errors[axis] - noise, 0), sizes, errors, where=judged)
            worst = int(errors.argmax())
            found |= {
                "channel": worst,
                "error": float(errors[worst]),
                "largest": float(sizes[worst]),
            }
        return found
