"""Runs one step's function over a real store, without a build around it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from onnxbuild.arrays import ArraysWriter, read_items
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Job
from onnxbuild.core.values import plain
from onnxbuild.graph import save
from onnxbuild.stores.local import LocalStore
from onnxbuild.worker.work import StepWork


class Workbench:
    """A store in a folder, and what is put on it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.store = LocalStore(os.path.join(folder, "store"))
        self.notes: dict[str, Any] = {}
        self._count = 0

    def run(
        self,
        function: Callable[[Any], Any],
        options: object,
        inputs: Mapping[str, Artifact] | None = None,
    ) -> Mapping[str, Artifact]:
        """Call `function` as a worker does: its options went through JSON."""
        job = Job(
            id="1",
            run=function.__name__,
            options=json.loads(json.dumps(plain(options))),
            inputs=inputs or {},
            outputs=(),
            label="",
            store=self.store.root,
            root=self.folder,
            folder=None,
        )
        with self.store.folder() as folder:
            work = StepWork(job, self.store, folder)
            results = function(work)
        self.notes = json.loads(json.dumps(work.notes))
        return results

    def arrays(self, items: list[Any]) -> Artifact:
        """Put items."""
        self._count += 1
        path = os.path.join(self.folder, f"{self._count}.npz")
        with ArraysWriter(path) as writer:
            for item in items:
                writer.add(item)
        size = os.path.getsize(path)
        return Artifact(kind="arrays", digest=self.store.put_file(path), size=size)

    def model(self, proto: Any) -> Artifact:
        """Put a model."""
        return save.put(proto, self.store)

    def value(self, value: object) -> Artifact:
        """Put a JSON value."""
        text = json.dumps(value)
        return Artifact(kind="json", digest="b3:" + "0" * 64, size=len(text), inline=text)

    def items(self, artifact: Artifact) -> list[dict[str, Any]]:
        """Read items."""
        return list(read_items(self.store.path(artifact)))

    def json(self, artifact: Artifact) -> Any:
        """Read a JSON value."""
        if artifact.inline is not None:
            return json.loads(artifact.inline)
        with open(self.store.path(artifact), encoding="utf-8") as file:
            return json.load(file)
