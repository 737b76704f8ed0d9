"""A bench on which the steps that run torch are tried: a project folder, a store, samples."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime

from onnxbuild.arrays import ArraysWriter, read_items
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Job, MoreSteps
from onnxbuild.core.values import plain
from onnxbuild.graph.load import read
from onnxbuild.steps.export import run as export_run
from onnxbuild.steps.reference import run as reference_run
from onnxbuild.stores.local import LocalStore
from onnxbuild.worker.work import StepWork


class Exported:
    """A graph that the bench exported, with what the step said of it."""

    def __init__(self, bench: Bench, artifact: Artifact, notes: dict[str, Any]) -> None:
        self.bench = bench
        self.artifact = artifact
        self.notes = notes
        self.path = bench.store.path(artifact)

    @property
    def model(self) -> ir.Model:
        return read(self.path)

    def shapes(self) -> dict[str, list[Any]]:
        graph = self.model.graph
        return {
            value.name: [size if isinstance(size, int) else size.value for size in value.shape]
            for value in (*graph.inputs, *graph.outputs)
        }

    def operators(self) -> list[str]:
        return [node.op_type for node in self.model.graph.all_nodes()]

    def worst(self) -> float:
        """The largest difference from the reference over all samples."""
        session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        worst = 0.0
        names = [value.name for value in session.get_inputs()]
        for item, expected in zip(
            read_items(self.bench.path("samples")),
            read_items(self.bench.path("reference")),
            strict=True,
        ):
            found = session.run(list(expected), {name: item[name] for name in names})
            for wanted, given in zip(expected.values(), found, strict=True):
                assert wanted.shape == given.shape
                # What is no number in one alone is as far off as can be.
                apart = np.abs(np.nan_to_num(wanted.astype(float) - given, nan=np.inf))
                both = np.isnan(wanted.astype(float)) & np.isnan(given.astype(float))
                apart = np.where(both, 0.0, apart)
                worst = max(worst, float(apart.max(initial=0.0)))
        return worst


class Bench:
    """Runs reference and export of small models, in this process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.store = LocalStore(os.path.join(folder, ".store"))
        self.artifacts: dict[str, Artifact] = {}

    def write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(textwrap.dedent(text))

    def path(self, name: str) -> str:
        return self.store.path(self.artifacts[name])

    def work(
        self, options: Any, inputs: Mapping[str, Artifact], outputs: tuple[str, ...]
    ) -> StepWork:
        job = Job(
            id="1", run="", options=options, inputs=inputs, outputs=outputs, label="",
            store=self.store.root, root=self.folder, folder=".",
        )  # fmt: skip
        private = os.path.join(self.folder, ".private")
        os.makedirs(private, exist_ok=True)
        return StepWork(job, self.store, private)

    def sample(
        self, inputs: Mapping[str, Any], dims: Mapping[str, Any] = {}, seed: int = 0
    ) -> None:
        """Make the samples of the contract: trace, example, corners."""
        names = sorted({d for item in inputs.values() for d in item["shape"] if isinstance(d, str)})
        trace = {name: 2 + number for number, name in enumerate(names)}
        trace |= {name: dims[name]["trace"] for name in names if "trace" in dims.get(name, {})}
        low = {name: dims.get(name, {}).get("min", 1) for name in names}
        high = {name: dims.get(name, {}).get("max", 2 * trace[name] + 1) for name in names}
        shapes = [("trace", trace), ("example", trace), ("least", low), ("most", high)]
        shapes += [(f"{name} least", high | {name: low[name]}) for name in names]
        if not names:
            shapes = shapes[:2]
        generator = np.random.default_rng(seed)
        work = self.work({}, {}, ())
        path = os.path.join(work.folder, "samples.npz")
        with ArraysWriter(path) as writer:
            for _, sizes in shapes:
                writer.add({k: _values(generator, item, sizes) for k, item in inputs.items()})
        self.artifacts["samples"] = work.put_file(path, "arrays")
        self.artifacts["shapes"] = work.put_json([{"name": n, "sizes": s} for n, s in shapes])

    def reference(
        self, model: Mapping[str, Any], inputs: Mapping[str, Any], outputs: Any = None
    ) -> dict[str, Any]:
        options = {"model": model, "inputs": _bare(inputs), "outputs": outputs}
        work = self.work(options, {"samples": self.artifacts["samples"]}, ("reference",))
        self.artifacts["reference"] = reference_run.reference(work)["reference"]
        return work.notes

    def export(
        self,
        model: Mapping[str, Any] | str,
        inputs: Mapping[str, Any],
        *,
        outputs: Any = None,
        dims: Mapping[str, Any] = {},
        replace: Any = (),
        dynamic_axes: Any = None,
        description: str = "",
        beside: Mapping[str, Any] = {},
        **export: Any,
    ) -> Exported:
        """Sample, run the reference and export. Names in shapes are dynamic dimensions."""
        if isinstance(model, str):
            model = {"entry": model}
        self.sample(inputs, dims)
        self.reference(model, inputs, outputs)
        options = {
            "model": model,
            "inputs": _bare(inputs),
            "outputs": outputs,
            "dynamic_axes": dynamic_axes or {},
            "dims": {k: {n: v for n, v in d.items() if n != "trace"} for k, d in dims.items()},
            "export": export,
            "replace": replace,
            "description": description,
            **beside,
        }
        return self.finish_export(options)

    def finish_export(self, options: Any) -> Exported:
        """Run the step and those that it answers with, until one gives a model."""
        self.tried: list[str] = []
        while True:
            work = self.work(options, dict(self.artifacts), ("model",))
            self.notes = work.notes
            answer = export_run.export(work)
            if not isinstance(answer, MoreSteps):
                return Exported(self, answer["model"], work.notes)
            step = answer.outputs["model"].step
            self.tried.append(step.label)
            options = plain(step.options)


def _bare(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"shape": item["shape"], "dtype": item.get("dtype", "float32")}
        for name, item in inputs.items()
    }


def _values(generator: Any, item: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
    shape = [sizes[size] if isinstance(size, str) else size for size in item["shape"]]
    dtype = item.get("dtype", "float32")
    if dtype.startswith("int"):
        return generator.integers(*item.get("range", (0, 2)), shape).astype(dtype)
    if dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    return generator.standard_normal(shape).astype(
        ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    )
