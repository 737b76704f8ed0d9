"""Stages run as a plan says, in this process and without an engine."""

import json
from importlib import import_module

import numpy as np
import onnxruntime as ort
import pytest

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Job, MoreSteps
from onnxbuild.core.step import OWN, Output, Step
from onnxbuild.core.values import plain
from onnxbuild.graph import save
from onnxbuild.recipe.schema import Model, Recipe, Verify
from onnxbuild.recipe.stage import StageContext
from onnxbuild.stores.local import LocalStore
from onnxbuild.worker.work import StepWork

SOURCE = Step(run="", label="source")
SAMPLES = Step(run="", label="samples", outputs=("samples", "shapes"))


class Bench:
    """Runs stages on a store of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.store = LocalStore(str(folder / "store"))
        self.notes = {}
        self.steps = []
        self.samples = ()

    def put(self, model):
        return save.put(model, self.store)

    def put_items(self, items):
        path = self.folder / "items.npz"
        members = {
            f"{index:06}/{name}": array
            for index, item in enumerate(items)
            for name, array in item.items()
        }
        np.savez(path, **members)
        return Artifact(kind="arrays", digest=self.store.put_file(str(path)), size=0)

    def apply(self, stage, model, data=None, samples=(), reference=(), verify=None):
        """Run a stage's steps; give the artifact. `notes` and `steps` are those of its steps, by label.

        With `samples`, the first of which is the example, the stage may look at what the model does with them, and
        with `reference` at what PyTorch did.
        """
        known = {(SOURCE, "model"): model, (SOURCE, "data"): data}
        if samples:
            self.put_samples(
                samples, ["example", *(f"other {number}" for number in range(1, len(samples)))]
            )
        if reference:
            known[SOURCE, "reference"] = self.put_items(reference)
        context = StageContext(
            name="it",
            recipe=Recipe(
                name="r", model=Model(onnx="m.onnx"), folder="", verify={"it": verify or Verify()}
            ),
            data=lambda name: Output(SOURCE, "data"),
            sampling=SAMPLES if self.samples else None,
            reference=Output(SOURCE, "reference") if reference else None,
        )
        if self.samples:
            known[SAMPLES, "samples"], known[SAMPLES, "shapes"] = self.samples
        output = stage.apply(Output(SOURCE, "model"), context)
        self._run(output.step, known)
        return known[output.step, output.name]

    def files(self, stage, model):
        """Run a stage that publishes other files than a model; give them by name, with the model."""
        context = StageContext(name="it", recipe=None, data=None)
        made = stage.apply(Output(SOURCE, "model"), context)
        known = {(SOURCE, "model"): model}
        self._run(made.step, known)
        assert known[made.step, "model"].digest == model.digest
        return {name: known[output.step, output.name] for name, output in stage.files(made).items()}

    def _run(self, step, known):
        for output in step.inputs.values():
            if (output.step, output.name) not in known:
                self._run(output.step, known)
        job = Job(
            id="1",
            run=step.run,
            options=plain(step.options),
            inputs={name: known[o.step, o.name] for name, o in step.inputs.items()},
            outputs=step.outputs,
            label=step.label,
            store=self.store.root,
            root=str(self.folder),
            folder=step.folder,
        )
        module, _, name = step.run.partition(":")
        with self.store.folder() as folder:
            work = StepWork(job, self.store, folder)
            results = getattr(import_module(module), name)(work)
            if isinstance(results, MoreSteps):
                results = self._grow(results, step, known)
        assert set(results) == set(step.outputs)
        self.notes.update(work.notes)
        self.steps.append(step)
        known.update({(step, key): artifact for key, artifact in results.items()})

    def _grow(self, answer, step, known):
        """Run the steps that a step answered with; give the results that stand for its own."""
        for name, output in step.inputs.items():
            known[OWN, name] = known[output.step, output.name]
        # What is run next grows too, and has inputs of its own.
        own = {key: value for key, value in known.items() if key[0] is OWN}
        results = {}
        for name, output in answer.outputs.items():
            self._run(output.step, known)
            known.update(own)
            results[name] = known[output.step, output.name]
        return results

    def put_samples(self, items, names):
        """Have stages measure on these items, each a sample of the shape with that name."""
        shapes = self.folder / "shapes.json"
        shapes.write_text(json.dumps([{"name": name, "sizes": {}} for name in names]))
        digest = self.store.put_file(str(shapes))
        self.samples = (self.put_items(items), Artifact(kind="json", digest=digest, size=0))

    def run(self, artifact, inputs):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(
            self.store.path(artifact), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, inputs)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def cosine(left, right):
    left, right = (np.asarray(x, dtype=np.float64).ravel() for x in (left, right))
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


@pytest.fixture(name="cosine")
def cosine_fixture():
    return cosine
