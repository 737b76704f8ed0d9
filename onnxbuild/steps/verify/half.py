"""What a model in half precision does where half is really computed.

onnxruntime's CPU provider computes half nodes in single precision and drops the casts between them, so an
overflow does not show. So every half result is made an output, which rounds it to half: what is too large
becomes infinite. Whether that matters, and what the lost digits do, is tried: small models run once more in
ONNX's reference implementation, whose numpy computes in half; larger ones in onnxruntime, as a float32 model that
rounds each result.
A mask that becomes minus infinity before a softmax does no harm, unless it leaves nothing in a row.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxbuild.arrays import Array
from onnxbuild.errors import ModelError
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import emulate, half_type
from onnxbuild.graph.load import model_nodes, read_proto
from onnxbuild.graph.weights import release, weights
from onnxbuild.steps.running import Runner
from onnxbuild.steps.verify.compare import Comparison
from onnxbuild.steps.verify.inside import describe_node, run_inside

HALF = "tensor(float16)"

MOST_PRODUCTS = 30_000_000
"""Multiplications of a model that runs in the reference implementation: some tenths of a second in numpy's
half, which has no fast path."""

MOST_NODES = 300
"""Nodes of such a model."""

MOST_BYTES = 512_000_000
"""Bytes of the results inside that are held at once at the largest sample."""

LARGEST = 65504
"""The largest number in half precision."""

SLACK = 4
"""By how much larger other values of the inputs may make a result."""

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose multiplications count."""


def look_at_half(
    path: str, model: ir.Model, threads: int, item: Mapping[str, Array]
) -> dict[str, Any] | None:
    """Give what half precision does to a model on one sample; None for a model without it.

    ``largest`` is the largest half value inside it; ``overflow`` the first node that exceeds half's 65504;
    ``true_half`` the errors of the reference implementation against onnxruntime, or ``skipped`` why not;
    ``rounded``, where that was skipped, the errors that rounding each result makes;
    ``bytes`` what all results inside take.
    """
    if half_type(model) != ir.DataType.FLOAT16:
        return None
    try:
        inside = run_inside(path, threads, item, (HALF,))
    except ModelError as error:
        return _look_from_outside(path, threads, item, error.what)
    found: dict[str, Any] = {"largest": 0.0, "bytes": sum(item[2].nbytes for item in inside)}
    shapes = {name: values.shape for _, name, values in inside}
    infinite = _infinite_weights(model)
    first: dict[str, str] | None = None
    for node, name, values in inside:
        finite = np.isfinite(values)
        if finite.any():
            largest = float(np.abs(values[finite]).max())
            found["largest"] = max(found["largest"], largest)
        if finite.all():
            continue
        # Only where it begins: a mask's minus infinity goes through many nodes and was meant.
        begins = node.op_type != "Constant" and infinite.isdisjoint(node.input)
        infinite.add(name)
        if begins:
            first = first or describe_node(node, name)
            if "overflow" not in found and not _is_mask(values):
                found["overflow"] = describe_node(node, name)
    products = count_products(model, shapes)
    nodes = sum(1 for _ in model_nodes(model))
    if products > MOST_PRODUCTS or nodes > MOST_NODES:
        found["skipped"] = (
            f"{products:,} multiplications in {nodes} nodes are too many for ONNX's reference implementation"
        )
    else:
        found |= _run_true_half(path, threads, item)
    if "true_half" not in found:
        rounded = _run_rounded(path, threads, item)
        if first is not None and (
            rounded is None or not all(result["finite"] for result in rounded.values())
        ):
            found.setdefault("overflow", first)
        found |= {} if rounded is None else {"rounded": rounded}
    return found


def look_at_most(
    path: str,
    model: ir.Model,
    threads: int,
    item: Mapping[str, Array],
    half: Mapping[str, Any],
    ratio: float,
) -> dict[str, Any] | None:
    """Give the same on the largest sample, `ratio` times as large as the one that gave `half`; None where it is in no danger.

    Sums grow with the elements that are summed up, products of two such with their square; a factor is left for
    values that happen to be larger.
    """
    if half.get("largest", math.inf) * SLACK * ratio**2 <= LARGEST:
        return None
    if half.get("bytes", 0) * ratio > MOST_BYTES:
        return _look_from_outside(path, threads, item, "its results would not fit into memory")
    return look_at_half(path, model, threads, item)


def _look_from_outside(
    path: str, threads: int, item: Mapping[str, Array], why: str
) -> dict[str, Any]:
    """Look at the outputs alone: an overflow shows there too, though not where it begins."""
    rounded = _run_rounded(path, threads, item)
    return {"skipped": why} | ({} if rounded is None else {"rounded": rounded})


def count_products(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Count the multiplications of the heavy nodes, whose results have these `shapes`."""
    total = 0
    for node in model.graph:
        if node.op_type not in HEAVY:
            continue
        size = math.prod(shapes.get(str(node.outputs[0].name), ()))
        weight = next((value.const_value for value in node.inputs[1:2] if value is not None), None)
        # A product of two activations: at most as many as the larger has elements in a row.
        dims = weight.shape.numpy() if weight is not None else _dims(node, shapes)
        inner = math.prod(dims[1:]) if node.op_type.startswith("Conv") else (dims or (1,))[0]
        total += size * int(inner)
    return total


def _dims(node: ir.Node, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    second = node.inputs[1]
    return shapes.get(str(second.name), ())[-2:] if second is not None else ()


def _infinite_weights(model: ir.Model) -> set[str]:
    found = set()
    for value in weights(model):
        tensor = value.const_value
        if tensor is None or tensor.dtype not in {ir.DataType.FLOAT16, ir.DataType.FLOAT}:
            continue
        if not np.isfinite(tensor.numpy()).all():
            found.add(str(value.name))
        release(tensor)
    return found


def _is_mask(values: Array) -> bool:
    """Tell whether all that is not finite is minus infinity beside zeros or ones."""
    odd = values[~np.isfinite(values)]
    rest = values[np.isfinite(values)]
    return bool(np.isneginf(odd).all() and np.isin(rest, (0, 1)).all())


def _run_rounded(path: str, threads: int, item: Mapping[str, Array]) -> dict[str, Any] | None:
    """Run with each result rounded to half, as an accelerator would; give the errors of the outputs against without.

    None where that cannot be made.
    """
    plain = Runner(path, threads).run(item, "the example")
    try:
        proto = emulate(path, os.path.dirname(os.path.abspath(path)))
        runner = Runner(
            proto.SerializeToString(),
            threads,
            lambda settings: sessions.find_weights(settings, path),
        )
        outputs = runner.run(
            item, "the example", [name for name in plain if name in runner.outputs]
        )
    except ModelError as error:
        sys.stdout.write(f"in half precision throughout: {error.what}\n")
        return None
    return _compare(plain, outputs)


def _compare(expected: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Any]:
    results = {}
    for name, output in outputs.items():
        comparison = Comparison()
        comparison.add(np.asarray(expected[name]), np.asarray(output))
        results[name] = comparison.result()
    return results


def _run_true_half(path: str, threads: int, item: Mapping[str, Array]) -> dict[str, Any]:
    runner = Runner(path, threads)
    feed = runner.feed(item, "the example")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # An overflow is what is looked for; numpy's words on it are not.
            warnings.simplefilter("ignore")
            evaluator = ReferenceEvaluator(read_proto(path))
            outputs = evaluator.run(None, feed)
    except Exception as error:  # noqa: BLE001 - recorded: the reference implementation lacks operators
        return {"skipped": f"ONNX's reference implementation fails: {sessions.readable(error)}"}
    names = [str(name) for name in evaluator.output_names]
    expected = dict(zip(names, runner.run_fed(feed), strict=True))
    return {"true_half": _compare(expected, dict(zip(names, outputs, strict=True)))}
