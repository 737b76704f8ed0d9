"""Two models side by side: the results inside each, a group at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper

from onnxbuild.arrays import Array
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import emulate, half_type, typed_proto
from onnxbuild.graph.load import read
from onnxbuild.graph.ports import is_tensor
from onnxbuild.steps.running import Runner

FLOATS = (
    ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16,
)  # fmt: skip

MOST_BYTES = 256 << 20
"""Bytes of the results that are held at once, of both models together."""

FEW_CHANNELS = 4
"""With fewer, the middle one says nothing of the others."""

NOISE = 1e-5
"""Share of a result's largest value from which a channel is no rounding error."""

ENDLESS = 1e30
"""The error of a result that is not finite where the exported model's is."""


@dataclass(slots=True)
class Side:
    """One of the two models, with the results that may be looked at."""

    proto: onnx.ModelProto
    path: str
    model: ir.Model
    values: dict[str, ir.Value]
    """The floating results of the main graph by name, in its order."""

    @classmethod
    def read(cls, path: str, *, rounding: bool) -> Side:
        """Read the model at `path`; with `rounding`, one in half precision as an accelerator computes it."""
        folder = os.path.dirname(os.path.abspath(path))
        rounds = rounding and half_type(read(path)) is not None
        proto = emulate(path, folder) if rounds else onnx.load(path, load_external_data=False)
        model = typed_proto(proto, folder)
        proto = ir.to_proto(model)
        values = {
            value.name: value
            for node in model.graph
            for value in node.outputs
            if value.name and any(is_tensor(value, dtype) for dtype in FLOATS)
        }
        return cls(proto, path, model, values)

    def run(self, names: Sequence[str], item: Mapping[str, Array], threads: int) -> dict[str, Any]:
        """Give some of the results. Raises `ModelError`."""
        return self._run(names, item, threads, shapes=False)

    def sizes(self, item: Mapping[str, Array], threads: int) -> dict[str, int]:
        """Count the elements of each result."""
        shapes = self._run(list(self.values), item, threads, shapes=True)
        return {name: int(np.prod(shape, dtype=np.int64)) for name, shape in shapes.items()}

    def _run(
        self, names: Sequence[str], item: Mapping[str, Array], threads: int, *, shapes: bool
    ) -> dict[str, Any]:
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        del proto.graph.output[:]
        wanted = [f"shape of {name}" for name in names] if shapes else list(names)
        if shapes:
            proto.graph.node.extend(
                helper.make_node("Shape", [name], [f"shape of {name}"]) for name in names
            )
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        runner = Runner(
            proto.SerializeToString(),
            threads,
            lambda settings: sessions.find_weights(settings, self.path),
        )
        found = runner.run(item, "the sample", wanted)
        return dict(zip(names, (found[name] for name in wanted), strict=True))


def group(names: Iterable[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Split results so that those of a group fit into `MOST_BYTES` twice, at four bytes for each element."""
    group: list[str] = []
    total = 0
    for name in names:
        taken = 8 * sizes[name]
        if group and total + taken > MOST_BYTES:
            yield group
            group, total = [], 0
        group.append(name)
        total += taken
    if group:
        yield group


def compare(expected: Array, values: Array) -> dict[str, float] | None:
    """Give error and range of a result, `expected` being the right one; None where they cannot be compared."""
    if expected.shape != values.shape or not expected.size:
        return None
    wide: Any = expected.astype(np.float64)
    finite = np.isfinite(wide)
    if not finite.any():
        return None
    low, high = float(wide[finite].min()), float(wide[finite].max())
    largest = max(abs(low), abs(high))
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(values.astype(np.float64) - wide)[finite]
    error = float(errors.max()) if np.isfinite(errors).all() else ENDLESS
    scaled = error / largest if largest else (0.0 if error == 0 else 1.0)
    if error < ENDLESS and finite.all():
        scaled = max(scaled, _usual_channel(wide, values.astype(np.float64)))
    return {"scaled": min(scaled, ENDLESS), "low": low, "high": high}


def _usual_channel(expected: Any, values: Any) -> float:
    """Give the error of the middle channel over its own largest value: one large channel may hide all others."""
    found = 0.0
    for axis in sorted({1, expected.ndim - 1}):
        if not 0 < axis < expected.ndim or expected.shape[axis] < FEW_CHANNELS:
            continue
        others = tuple(other for other in range(expected.ndim) if other != axis)
        sizes = np.abs(expected).max(axis=others)
        errors = np.abs(values - expected).max(axis=others)
        judged = sizes > NOISE * sizes.max()
        if judged.sum() * 2 > judged.size:
            found = max(found, float(np.median(errors[judged] / sizes[judged])))
    return found
