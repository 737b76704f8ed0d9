"""Measure a model against PyTorch's outputs. What that means for publishing is judged elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxbuild.arrays import BFLOAT16, Array, read_items
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import DataError, ModelError
from onnxbuild.graph.emulate import half_type
from onnxbuild.graph.load import model_nodes, read
from onnxbuild.steps.running import Runner, open_served
from onnxbuild.steps.verify.channels import Channels
from onnxbuild.steps.verify.compare import Comparison
from onnxbuild.steps.verify.half import look_at_half, look_at_most
from onnxbuild.steps.verify.inside import find_bad_node
from onnxbuild.steps.verify.others import look_at_others
from onnxbuild.steps.verify.perturb import perturb
from onnxbuild.steps.verify.spec import VerifyOptions

SAME = 1e-6
"""Share of an output's largest value below which a difference between samples is none."""

Item = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample with its name, its inputs and PyTorch's outputs."""

    name: str
    sizes: Mapping[str, int]
    inputs: Item
    reference: Item

    @property
    def what(self) -> str:
        """What people call it."""
        sizes = ", ".join(f"{dim}={size}" for dim, size in self.sizes.items())
        return f"sample {self.name!r}" + (f" ({sizes})" if sizes else "")


def verify(work: Work) -> dict[str, Artifact]:
    """Give the ``fidelity`` of ``model``: errors by shape and output, and whether they prove anything."""
    options = build(VerifyOptions, work.options)
    path = work.input("model")
    model = read(path)
    runner = open_served(work, options.threads)
    fidelity: dict[str, Any] = {
        "model": {
            "nodes": sum(1 for _ in model_nodes(model)),
            "opset": model.opset_imports.get(""),
            "ir_version": model.ir_version,
            "half": half.name.lower() if (half := half_type(model)) is not None else "",
        }
    }
    example = next(sample for sample in _samples(work, options) if sample.name == "example")
    absent = runner.missing(example.inputs)
    if absent and not options.weights:
        # The recipe wants the graph alone; the export compared it while it still had them.
        fidelity["weightless"] = absent
        return {"fidelity": work.put_json(fidelity)}
    fidelity |= measure(runner, _samples(work, options))
    # Before the next session: each has a copy of the weights, packed for its kernels.
    del runner
    fidelity["perturbed"] = perturb(path, model, options.threads, example.inputs, example.reference)
    fidelity["half"] = inside = look_at_half(path, model, options.threads, example.inputs)
    largest = max(_samples(work, options), key=_size)
    if inside:
        # What is summed up over more elements overflows at the largest sizes only.
        ratio = _size(largest) / max(1, _size(example))
        look = look_at_most(path, model, options.threads, largest.inputs, inside, ratio)
        fidelity["half_at_most"] = look and {"sample": largest.what, **look}
    if not all(item["finite"] for item in fidelity["outputs"].values()):
        bad = next(item for item in _samples(work, options) if item.name == _first_bad(fidelity))
        fidelity["bad_node"] = find_bad_node(path, options.threads, bad.inputs)
    if "exported" in work.inputs():
        fidelity["others"] = _look_at_others(work, options, example)
    _tell(fidelity)
    return {"fidelity": work.put_json(fidelity)}


def _look_at_others(work: Work, options: VerifyOptions, example: Sample) -> dict[str, Any] | None:
    try:
        return look_at_others(
            work.input("exported"), work.input("model"), options.threads, example.inputs
        )
    except ModelError as error:
        # Shifted values need not be valid ones, and a quantizer may have renamed what is chosen.
        print(f"choices were not looked at on other inputs: {error.what}")  # noqa: T201
        return None


def measure(runner: Runner, samples: Iterator[Sample]) -> dict[str, Any]:
    """Compare every sample but the one that was traced; give errors by shape and over all."""
    shapes: dict[str, tuple[Mapping[str, int], dict[str, Comparison]]] = {}
    dtypes: dict[str, dict[str, str]] = {}
    constancy = Constancy()
    channels: dict[str, Channels] = {}
    for sample in samples:
        if sample.name == "trace":
            continue
        names = [name for name in sample.reference if name in runner.outputs]
        outputs = runner.run(sample.inputs, sample.what, names)
        _, comparisons = shapes.setdefault(sample.name, (sample.sizes, {}))
        for name, reference in sample.reference.items():
            counted = channels.setdefault(name, Channels())
            comparison = comparisons.setdefault(name, Comparison(channels=counted))
            if name not in outputs or not isinstance(outputs[name], np.ndarray):
                comparison.problem = (
                    "the model has no such output" if name not in outputs else "it is no tensor"
                )
                continue
            comparison.add(reference, outputs[name])
            constancy.add(name, outputs[name])
            dtypes[name] = {
                "dtype": str(outputs[name].dtype),
                "reference_dtype": str(reference.dtype),
            }
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "sizes": dict(sizes),
            "outputs": {key: item.result() for key, item in comparisons.items()},
        }
        for name, (sizes, comparisons) in shapes.items()
    ]
    return {
        "shapes": found,
        "outputs": {
            name: dtypes.get(name, {})
            | worst([shape["outputs"][name] for shape in found])
            | {"channels": channels[name].result()}
            for name in (found[0]["outputs"] if found else {})
        },
        "constant": constancy.result(),
    }


def worst(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the worst over several shapes of one output; None where a shape could not be compared."""
    found: dict[str, Any] = {
        "finite": all(item["finite"] for item in results),
        "largest": max(item["largest"] for item in results),
    }
    for key, most in (("max_abs", max), ("max_rel", max), ("scaled", max), ("cosine", min)):
        values = [item[key] for item in results]
        found[key] = None if None in values else most(values)
    if any("mismatched" in item for item in results):
        found["mismatched"] = max(item.get("mismatched", 1.0) for item in results)
    return found


class Constancy:
    """Which outputs are the same for every sample."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, tuple[int, ...]], Array] = {}
        self._varies: dict[str, bool] = {}

    def add(self, name: str, output: Array) -> None:
        """Look at an output of another sample. Only outputs of one shape are compared."""
        first = self._first.setdefault((name, output.shape), output)
        if first is output or not output.size:
            return
        self._varies[name] = self._varies.get(name, False) or _differs(first, output)

    def result(self) -> list[str]:
        """Name the outputs that were the same whenever two had one shape."""
        return [name for name, varies in self._varies.items() if not varies]


def _differs(one: Array, other: Array) -> bool:
    if one.dtype != BFLOAT16 and one.dtype.kind != "f":
        return not np.array_equal(one, other)
    left, right = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(left - right).max()
    # Not finite: something else is reported of it.
    return not difference <= SAME * np.abs(left).max()


def _samples(work: Work, options: VerifyOptions) -> Iterator[Sample]:
    items = zip(
        work.json("shapes"),
        read_items(work.input("samples")),
        read_items(work.input("reference")),
        strict=True,
    )
    for shape, inputs, reference in items:
        names = options.outputs or tuple(reference)
        missing = [name for name in names if name not in reference]
        if missing:
            raise DataError(
                f"the reference has no output {', '.join(missing)}",
                where="outputs",
                hint=f"it has: {', '.join(reference)}",
            )
        yield Sample(
            name=shape["name"],
            sizes=shape["sizes"],
            inputs=inputs,
            reference={name: reference[name] for name in names},
        )


def _size(sample: Sample) -> int:
    """Count the elements of the inputs of a sample."""
    return sum(array.size for array in sample.inputs.values())


def _first_bad(fidelity: Mapping[str, Any]) -> str:
    """Name the first shape at which an output is not finite."""
    return next(
        str(shape["name"])
        for shape in fidelity["shapes"]
        if not all(item["finite"] for item in shape["outputs"].values())
    )


def _tell(fidelity: Mapping[str, Any]) -> None:
    lines = []
    for shape in fidelity["shapes"]:
        for name, item in shape["outputs"].items():
            told = item.get("problem") or (
                f"max_abs {item['max_abs']}, scaled {item['scaled']}, cosine {item['cosine']}"
            )
            lines.append(f"{shape['name']}: {name}: {told}")
    lines += [
        f"{key}: {fidelity[key]}"
        for key in ("constant", "half", "half_at_most", "others")
        if fidelity.get(key)
    ]
    sys.stdout.write("\n".join(lines) + "\n")
