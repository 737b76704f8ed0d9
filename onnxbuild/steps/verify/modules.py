"""Where an exported graph departs from PyTorch: the outputs of the model's modules beside the graph's results.

The exporters' nodes are named after the modules that they come from, so that a module's output is one of the
results of its nodes, or of those of the modules in it: the one of its shape that is nearest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from onnxbuild.arrays import Array, convert, numpy_type, read_item
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import ModelError
from onnxbuild.graph.select import module_of
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.loading import load_model
from onnxbuild.steps.model.tensors import to_numpy
from onnxbuild.steps.reference.spec import ReferenceOptions
from onnxbuild.steps.verify.sides import MOST_BYTES, Side, compare, group
from onnxbuild.steps.verify.spec import LocateModulesOptions


@dataclass(slots=True)
class Called:
    """What one call of a module gave."""

    path: str
    kind: str
    output: Array


def locate_modules(work: Work) -> dict[str, Artifact]:
    """Give, in the order of the calls, how far the graph is from each module's output.

    In the form of `onnxbuild.steps.verify.locate`, a module in place of a node; ``came_in`` is the error of
    the module that was called before.
    """
    options = build(LocateModulesOptions, work.options)
    reference = build(ReferenceOptions, options.reference)
    names = [shape["name"] for shape in work.json("shapes")]
    item = read_item(work.input("samples"), names.index(options.sample))
    try:
        exported = Side.read(work.input("exported"), rounding=False)
        calls, outputs = _call(reference, item)
        nodes = _compare(exported, calls, item, options.threads)
        ends = exported.run(
            [name for name in outputs if name in exported.values], item, options.threads
        )
    except ModelError as error:
        return {"errors": work.put_json({"unknown": error.what})}
    found = [compare(outputs[name], values) for name, values in ends.items()]
    end = max((one["scaled"] for one in found if one is not None), default=0.0)
    return {"errors": work.put_json({"nodes": nodes, "end": end})}


def _call(
    options: ReferenceOptions, item: Mapping[str, Array]
) -> tuple[list[Called], dict[str, Array]]:
    """Run the original model and keep what its modules give, as long as there is room."""
    inputs = tuple(options.inputs) or tuple(item)
    adapter = Adapter(load_model(options.model), inputs, options.outputs)
    calls: list[Called] = []
    room = MOST_BYTES

    def keep(path: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            nonlocal room
            first = output[0] if isinstance(output, tuple | list) and output else output
            if not isinstance(first, torch.Tensor) or not first.is_floating_point():
                return
            room -= first.numel() * 4
            if room > 0:
                # A copy: a later module may write into it.
                calls.append(Called(path, type(module).__name__, to_numpy(first.detach().clone())))

        return hook

    handles = [
        module.register_forward_hook(keep(path))
        for path, module in adapter.model.named_modules()
        if path
    ]
    fed = {
        name: convert(item[name], numpy_type(options.inputs[name].dtype), name=name)
        if name in options.inputs
        else item[name]
        for name in inputs
    }
    try:
        outputs = adapter.predict(fed)
    finally:
        for handle in handles:
            handle.remove()
    return calls, outputs


def _compare(
    exported: Side, calls: Sequence[Called], item: Mapping[str, Array], threads: int
) -> list[dict[str, Any]]:
    """Hold each module's output against the results of the graph that may be it."""
    paths = {
        name: module_of((maker.name if maker is not None else "") or "")
        for name, value in exported.values.items()
        for maker in [value.producer()]
    }
    wanted = {call.path for call in calls}
    names = [name for name, path in paths.items() if any(_is_in(path, one) for one in wanted)]
    sizes = exported.sizes(item, threads)
    found: list[dict[str, float] | None] = [None for _ in calls]
    for part in group(names, sizes):
        results = exported.run(part, item, threads)
        for index, call in enumerate(calls):
            for name in part:
                if not _is_in(paths[name], call.path):
                    continue
                numbers = compare(call.output, results[name])
                known = found[index]
                if numbers and (known is None or numbers["scaled"] < known["scaled"]):
                    found[index] = numbers
    nodes: list[dict[str, Any]] = []
    before = 0.0
    for call, numbers in zip(calls, found, strict=True):
        if numbers is None:
            continue
        nodes.append({"node": call.path, "operator": call.kind, "came_in": before, **numbers})
        before = numbers["scaled"]
    return nodes


def _is_in(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")
