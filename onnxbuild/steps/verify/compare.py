"""Errors of one output at one shape, over all samples of that shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxbuild.arrays import BFLOAT16, Array
from onnxbuild.steps.verify.channels import Channels
from onnxbuild.steps.verify.hull import Floats, Point, find_hull, merge_hulls

RELATIVE_FLOOR = 1e-3
"""Share of the largest reference value below which a value counts as this large for `max_rel`: next to zero
a relative error says nothing."""


@dataclass(slots=True)
class Comparison:
    """Adds up samples; `result` gives plain values.

    With reference values r and errors d = |y - r|, over elements that are finite in both:

    * ``max_abs``: the largest d
    * ``max_rel``: the largest d / max(|r|, 0.001 max|r|), the maximum over the same sample
    * ``scaled``: the largest d over the largest |r|; over 1 where all r are zero
    * ``cosine``: y·r / (|y| |r|), all samples as one vector; 1 where both are zero, 0 where one is
    * ``mismatched``: for truth values, whole numbers and text, the share of elements that differ
    * ``hull``: see `onnxbuild.steps.verify.hull`
    """

    channels: Channels | None = None
    """Where real numbers, all of them finite, are added up by channel too."""
    samples: int = 0
    elements: int = 0
    finite: bool = True
    """No NaN and no Inf in the output."""
    reference_finite: bool = True
    problem: str = ""
    """Why the two cannot be compared: another shape or kind."""
    exact: bool = False
    """The reference holds truth values, whole numbers or text."""
    _mismatched: int = 0
    _largest: float = 0.0
    _max_abs: float = 0.0
    _max_rel: float = 0.0
    _compared: int = 0
    _products: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    _hulls: list[list[Point]] = field(default_factory=list)

    def add(self, reference: Array, output: Array) -> None:
        """Compare another sample."""
        self.samples += 1
        self.elements += int(reference.size)
        self.exact = reference.dtype.kind in "biuSU"
        if output.shape != reference.shape:
            self.problem = (
                f"its shape is {list(output.shape)}, PyTorch's is {list(reference.shape)}"
            )
            return
        if (output.dtype.kind in "SUO") != (reference.dtype.kind in "SUO"):
            self.problem = f"its type is {output.dtype}, PyTorch's is {reference.dtype}"
            return
        if self.exact:
            self._mismatched += int((output != reference).sum())
        if reference.dtype.kind not in "SUO":
            sizes, errors = self._add_numbers(_flatten(reference), _flatten(output))
            if self.channels and not self.exact and 0 < sizes.size == reference.size:
                self.channels.add(reference.shape, sizes, errors)

    def result(self) -> dict[str, Any]:
        """Give what was found. Errors are None where no element could be compared."""
        measured = self._compared > 0 or (self.elements == 0 and not self.problem)
        result: dict[str, Any] = {
            "samples": self.samples,
            "elements": self.elements,
            "finite": self.finite,
            "reference_finite": self.reference_finite,
            "largest": self._largest,
            "max_abs": self._max_abs if measured else None,
            "max_rel": self._max_rel if measured else None,
            "scaled": self._max_abs / (self._largest or 1.0) if measured else None,
            "cosine": _cosine(*self._products) if measured else None,
            "hull": [list(point) for point in merge_hulls(self._hulls)],
        }
        if self.exact:
            result["mismatched"] = self._mismatched / self.elements if self.elements else 0.0
        if self.problem:
            result["problem"] = self.problem
        return result

    def _add_numbers(self, r: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Give the sizes of the reference's values and the errors, where both are finite."""
        finite = np.isfinite(y)
        expected = np.isfinite(r)
        self.finite &= bool(finite.all())
        self.reference_finite &= bool(expected.all())
        both = finite & expected
        if not both.all():
            r, y = r[both], y[both]
        sizes = np.abs(r)
        errors = np.abs(y - r)
        if not r.size:
            return sizes, errors
        self._compared += int(r.size)
        largest = float(sizes.max())
        self._largest = max(self._largest, largest)
        self._max_abs = max(self._max_abs, float(errors.max()))
        floor = RELATIVE_FLOOR * largest or 1.0
        self._max_rel = max(self._max_rel, float((errors / np.maximum(sizes, floor)).max()))
        for index, (one, other) in enumerate(((y, r), (y, y), (r, r))):
            self._products[index] += float(np.dot(one, other))
        self._hulls.append(find_hull(sizes, errors))
        return sizes, errors


def _cosine(both: float, output: float, reference: float) -> float | None:
    if not np.isfinite([both, output, reference]).all():
        # Squares of numbers beyond 1e154.
        return None
    if output == 0 or reference == 0:
        return 1.0 if output == reference else 0.0
    return float(np.clip(both / math.sqrt(output) / math.sqrt(reference), -1.0, 1.0))


def _flatten(array: Array) -> Floats:
    """Give all values as one row of doubles; a complex number is two."""
    flat = np.asarray(array).reshape(-1)
    if flat.dtype == BFLOAT16:
        flat = flat.astype(np.float32)
    if flat.dtype.kind == "c":
        flat = flat.astype(np.complex128).view(np.float64)
    values: Floats = flat.astype(np.float64, copy=False)
    return values
