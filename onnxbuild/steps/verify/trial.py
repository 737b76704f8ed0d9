"""How far a model in half precision is from PyTorch where half is really computed: for a search, not for a gate."""

from __future__ import annotations

import os

from onnxbuild.arrays import read_items
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import emulate
from onnxbuild.steps.running import Runner
from onnxbuild.steps.verify.compare import Comparison


def measure(work: Work) -> dict[str, Artifact]:
    """Give the ``errors`` of ``model``, each of whose results is rounded: by shape and output.

    ``{"shapes": [{"name", "outputs": {name: comparison}}]}``, as `onnxbuild.steps.verify.compare` has it.
    """
    path = work.input("model")
    proto = emulate(path, os.path.dirname(os.path.abspath(path)))
    runner = Runner(
        proto.SerializeToString(), 1, lambda settings: sessions.find_weights(settings, path)
    )
    found: dict[str, dict[str, Comparison]] = {}
    samples = read_items(work.input("samples"))
    expected = read_items(work.input("reference"))
    for shape, item, reference in zip(work.json("shapes"), samples, expected, strict=True):
        if shape["name"] == "trace":
            continue
        names = [name for name in reference if name in runner.outputs]
        outputs = runner.run(item, f"sample {shape['name']!r}", names)
        for name, output in outputs.items():
            comparison = found.setdefault(shape["name"], {}).setdefault(name, Comparison())
            comparison.add(reference[name], output)
    shapes = [
        {"name": name, "outputs": {key: one.result() for key, one in outputs.items()}}
        for name, outputs in found.items()
    ]
    return {"errors": work.put_json({"shapes": shapes})}
