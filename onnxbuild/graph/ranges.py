"""Between which values the results inside a model lie, found by running it: a few numbers for each result.

The numbers are computed by nodes that are put behind each result, so that no result has to be kept: memory
stays that of a run, whatever the model's size.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.arrays import Array, convert
from onnxbuild.errors import ModelError
from onnxbuild.graph import sessions

ENDLESS = 1e30
"""From here on a number stands for infinity, as the masks of attention have it."""

PARTS = ("low", "high", "least", "most", "smallest", "rows")

PREFIX = "range of "


@dataclass(frozen=True, slots=True)
class Range:
    """What the values of one result were, over all samples."""

    low: float
    """The lowest, without what stands for infinity."""

    high: float
    """The highest, likewise."""

    least: float
    """The lowest of all."""

    most: float
    """The highest of all."""

    smallest: float
    """The smallest in size that is not zero; infinite where none was looked for, or all are zero."""

    rows: float = math.inf
    """The lowest of the highest numbers of all rows along the last axis; infinite where it was not looked for."""

    @property
    def size(self) -> float:
        """The largest in size, without what stands for infinity."""
        return max(-self.low, self.high)

    def join(self, other: Range) -> Range:
        """Give the range of both."""
        return Range(
            min(self.low, other.low),
            max(self.high, other.high),
            min(self.least, other.least),
            max(self.most, other.most),
            min(self.smallest, other.smallest),
            min(self.rows, other.rows),
        )


def observe(
    path: str,
    names: Collection[str],
    small: Collection[str],
    items: Iterable[Mapping[str, Array]],
    threads: int = 1,
    rows: Collection[str] = (),
) -> dict[str, Range]:
    """Run the model at `path` on `items` and give the ranges of the float32 values called `names`.

    Of those in `small`, the smallest size is looked for too, of those in `rows` the rows' highest numbers.
    Raises `ModelError` where it does not run.
    """
    proto = onnx.load(path, load_external_data=False)
    del proto.graph.output[:]
    _add_constants(proto)
    for name in names:
        _add_range(proto, name, small=name in small, rows=name in rows)
    session = open_beside(proto, path, threads)
    known = list(names)
    found: dict[str, Range] = {}
    for item in items:
        numbers = run(session, item)
        for index, name in enumerate(known):
            values = [float(one) for one in numbers[index * len(PARTS) : (index + 1) * len(PARTS)]]
            # JSON and comparisons know one infinity.
            values[4:] = [one if one < ENDLESS else math.inf for one in values[4:]]
            new = Range(*values)
            found[name] = new.join(found[name]) if name in found else new
    return found


def find_rounded(
    path: str,
    names: Collection[str],
    half: TensorProto.DataType,
    items: Iterable[Mapping[str, Array]],
    threads: int = 1,
) -> set[str]:
    """Name those of the float32 values called `names` that hold whole numbers only, some of which `half` rounds."""
    proto = onnx.load(path, load_external_data=False)
    del proto.graph.output[:]
    _add_constants(proto)
    for name in names:
        _add_rests(proto, name, half)
    session = open_beside(proto, path, threads)
    whole, rounded = set(names), set()
    for item in items:
        rests = [float(rest) for rest in run(session, item)]
        for name, fraction, lost in zip(names, rests[::2], rests[1::2], strict=True):
            if fraction != 0:
                whole.discard(name)
            if lost != 0:
                rounded.add(name)
    return whole & rounded


def _add_rests(proto: onnx.ModelProto, name: str, half: int) -> None:
    """Put nodes behind a value that give its largest fraction, and by how much `half` rounds it at most."""
    at = f"{PREFIX}{name}: "
    nodes = [
        helper.make_node("Reshape", [name, PREFIX + "row"], [at + "flat"]),
        helper.make_node("Concat", [at + "flat", PREFIX + "zero"], [at + "all"], axis=0),
        helper.make_node("Floor", [at + "all"], [at + "floor"]),
        helper.make_node("Cast", [at + "all"], [at + "half"], to=half),
        helper.make_node("Cast", [at + "half"], [at + "rounded"], to=TensorProto.FLOAT),
    ]
    for other, part in (("floor", "fraction"), ("rounded", "lost")):
        nodes += [
            helper.make_node("Sub", [at + "all", at + other], [f"{at}{part} each"]),
            helper.make_node("Abs", [f"{at}{part} each"], [f"{at}{part} size"]),
            helper.make_node("ReduceMax", [f"{at}{part} size"], [at + part], keepdims=0),
        ]
    proto.graph.node.extend(nodes)
    for part in ("fraction", "lost"):
        _give(proto, at + part)


def open_beside(proto: onnx.ModelProto, path: str, threads: int) -> ort.InferenceSession:
    """Load a changed copy of the model at `path`, whose weights lie where that one's do."""
    settings = sessions.options(threads)
    # Nothing is to be fused away that is looked at.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions.find_weights(settings, path)
    try:
        return ort.InferenceSession(
            proto.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ModelError(f"onnxruntime does not load it: {sessions.readable(error)}") from error


def run(session: ort.InferenceSession, item: Mapping[str, Array]) -> list[Any]:
    """Run a session on the inputs among an item's arrays. Raises `ModelError`."""
    try:
        feed = {
            value.name: convert(item[value.name], sessions.TYPES[value.type], name=value.name)
            for value in session.get_inputs()
        }
        return list(session.run(None, feed))
    except Exception as error:
        raise ModelError(f"it does not run: {sessions.readable(error)}") from error


def _add_constants(proto: onnx.ModelProto) -> None:
    for name, array in (
        ("row", np.array([-1], np.int64)),
        ("one", np.array([1], np.int64)),
        ("zero", np.zeros(1, np.float32)),
        ("endless", np.array([ENDLESS], np.float32)),
        ("least", np.array([-ENDLESS], np.float32)),
    ):
        proto.graph.initializer.append(numpy_helper.from_array(array, PREFIX + name))


def _add_range(proto: onnx.ModelProto, name: str, *, small: bool, rows: bool) -> None:
    """Put nodes behind a value that give its `PARTS`. A zero is added, since it may be empty."""
    at = f"{PREFIX}{name}: "
    zero, endless, least = (PREFIX + known for known in ("zero", "endless", "least"))
    nodes = [
        helper.make_node("Reshape", [name, PREFIX + "row"], [at + "flat"]),
        helper.make_node("Concat", [at + "flat", zero], [at + "all"], axis=0),
        helper.make_node("Less", [at + "all", endless], [at + "below"]),
        helper.make_node("Greater", [at + "all", least], [at + "above"]),
        helper.make_node("And", [at + "below", at + "above"], [at + "within"]),
        helper.make_node("Where", [at + "within", at + "all", zero], [at + "finite"]),
        helper.make_node("ReduceMin", [at + "finite"], [at + "low"], keepdims=0),
        helper.make_node("ReduceMax", [at + "finite"], [at + "high"], keepdims=0),
        helper.make_node("ReduceMin", [at + "all"], [at + "least"], keepdims=0),
        helper.make_node("ReduceMax", [at + "all"], [at + "most"], keepdims=0),
    ]
    if small:
        nodes += [
            helper.make_node("Abs", [at + "all"], [at + "sizes"]),
            helper.make_node("Greater", [at + "sizes", zero], [at + "some"]),
            helper.make_node("Where", [at + "some", at + "sizes", endless], [at + "or"]),
            helper.make_node("ReduceMin", [at + "or"], [at + "smallest"], keepdims=0),
        ]
    else:
        nodes.append(helper.make_node("ReduceMax", [endless], [at + "smallest"], keepdims=0))
    if rows:
        nodes += [
            # Not ReduceMax, whose axes were an attribute before they were an input.
            helper.make_node("TopK", [name, PREFIX + "one"], [at + "highest", at + "places"]),
            helper.make_node("Reshape", [at + "highest", PREFIX + "row"], [at + "each"]),
            helper.make_node("Concat", [at + "each", endless], [at + "any"], axis=0),
            helper.make_node("ReduceMin", [at + "any"], [at + "rows"], keepdims=0),
        ]
    else:
        nodes.append(helper.make_node("ReduceMax", [endless], [at + "rows"], keepdims=0))
    proto.graph.node.extend(nodes)
    for part in PARTS:
        _give(proto, at + part)


def _give(proto: onnx.ModelProto, name: str) -> None:
    proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
