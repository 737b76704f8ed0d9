"""Whether a variant chooses as the exported model does on other inputs than the samples.

Where nothing is chosen, errors are much the same for all inputs, and a few samples tell them. A choice that turns over
on one input in ten may do so on no sample.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnxbuild.arrays import Array
from onnxbuild.graph import sessions
from onnxbuild.graph.choices import ORDERING, scores_of
from onnxbuild.graph.emulate import emulate, half_type, typed
from onnxbuild.graph.load import read
from onnxbuild.steps.running import Runner
from onnxbuild.steps.verify.compare import Comparison

COUNT = 16
"""Other inputs that are tried."""


def look_at_others(
    exported: str, variant: str, threads: int, item: Mapping[str, Array]
) -> dict[str, Any] | None:
    """Give on how many ``inputs`` a choice ``turned`` over, by which ``nodes``, and the worst ``scaled`` error there.

    Inputs are those of `item` with their values shifted. None where the exported model chooses nothing inside.
    Raises `ModelError`.
    """
    chosen = find_chosen(exported)
    if not chosen:
        return None
    items = list(shifted(item))
    known = [value.name for value in onnx.load(exported, load_external_data=False).graph.output]
    right = _run(exported, [*known, *chosen], threads, items)
    found = _run(variant, [*known, *chosen], threads, items)
    turned: dict[str, int] = {}
    worst, inputs, count = 0.0, 0, 0
    for expected, given in zip(right, found, strict=True):
        if not all(np.isfinite(expected[name]).all() for name in known):
            continue
        inputs += 1
        differ = [name for name in chosen if not np.array_equal(expected[name], given[name])]
        count += bool(differ)
        for name in differ:
            turned[chosen[name]] = turned.get(chosen[name], 0) + 1
        if differ:
            worst = max(worst, *(_error(expected[name], given[name]) for name in known))
    return {"inputs": inputs, "turned": count, "nodes": turned, "scaled": worst}


def find_chosen(path: str) -> dict[str, str]:
    """Give by name what the model at `path` takes of many numbers for use inside, with the node that chooses."""
    model = typed(path, os.path.dirname(os.path.abspath(path)))
    return {
        node.outputs[-1].name or "": node.name or node.op_type
        for node in model.graph
        if node.op_type in ORDERING and scores_of(node) and node.outputs[-1].uses()
    }


def shifted(item: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Give inputs with the same values at other places: all inputs of one size are shifted alike."""
    for number in range(1, COUNT + 1):
        yield {
            name: np.roll(array, number * max(1, array.size // (COUNT + 1)))
            if array.size
            else array
            for name, array in item.items()
        }


def _run(
    path: str, names: Sequence[str], threads: int, items: Sequence[Mapping[str, Array]]
) -> list[dict[str, Any]]:
    """Run a model, one in half precision as an accelerator computes it, and give these results of the main graph."""
    folder = os.path.dirname(os.path.abspath(path))
    rounds = half_type(read(path)) is not None
    proto = emulate(path, folder) if rounds else onnx.load(path, load_external_data=False)
    outputs = {value.name for value in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in outputs
    )
    runner = Runner(
        proto.SerializeToString(), threads, lambda settings: sessions.find_weights(settings, path)
    )
    return [runner.run(item, "another input", names) for item in items]


def _error(expected: Array, given: Array) -> float:
    comparison = Comparison()
    comparison.add(np.asarray(expected), np.asarray(given))
    result = comparison.result()
    return float("inf") if result.get("problem") else float(result["scaled"] or 0.0)
