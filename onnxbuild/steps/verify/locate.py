"""Where a variant goes astray: each node's result beside that of the exported model."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxbuild.arrays import Array, read_item
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import ModelError
from onnxbuild.steps.verify.inside import describe_node, run_inside
from onnxbuild.steps.verify.spec import LocateOptions

FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


def locate(work: Work) -> dict[str, Artifact]:
    """Give, in the graph's order, the error of each result that both models have by name.

    ``{"nodes": [{node, operator, result, scaled}]}``, ``scaled`` as `onnxbuild.steps.verify.compare` has it:
    the largest error over the largest value. ``{"unknown": reason}`` where one cannot be looked into.
    """
    options = build(LocateOptions, work.options)
    names = [shape["name"] for shape in work.json("shapes")]
    item = read_item(work.input("samples"), names.index(options.sample))
    try:
        expected = {
            name: values
            for _, name, values in run_inside(work.input("exported"), options.threads, item, FLOATS)
        }
        inside = run_inside(work.input("model"), options.threads, item, FLOATS)
    except ModelError as error:
        return {"errors": work.put_json({"unknown": error.what})}
    nodes = [
        describe_node(node, name) | {"scaled": scaled}
        for node, name, values in inside
        if name in expected and (scaled := _scaled(expected[name], values)) is not None
    ]
    return {"errors": work.put_json({"nodes": nodes})}


def _scaled(expected: Array, values: Array) -> float | None:
    if expected.shape != values.shape or not expected.size:
        return None
    wide: Any = expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.abs(values.astype(np.float64) - wide).max())
        largest = float(np.abs(wide).max())
    if not np.isfinite(error) or not np.isfinite(largest):
        # What is not finite is told of in other words.
        return None
    return error / largest if largest else (0.0 if error == 0 else 1.0)
