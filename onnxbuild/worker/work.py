"""What a run function gets in its hands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from onnxbuild.core.artifact import INLINE_LIMIT, Artifact, Kind
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.ports import ContentStore, Job
from onnxbuild.errors import StepError, StoreError


class StepWork:
    """The work of one step: its options and inputs, and where its results go."""

    def __init__(self, job: Job, store: ContentStore, folder: str) -> None:
        self.options: Any = job.options
        self.folder = folder
        self.store = store
        self.notes: dict[str, Any] = {}
        self._job = job

    def inputs(self) -> Mapping[str, Artifact]:
        """Give all inputs."""
        return dict(self._job.inputs)

    def input(self, name: str) -> str:
        """Give the path of an input's content. Read only."""
        artifact = self._find(name)
        path = self.store.path(artifact)
        if artifact.inline is None:
            return path
        # A small JSON text travels in its trace; whoever wants a file gets one.
        path = os.path.join(self.folder, f"{artifact.digest.removeprefix('b3:')}.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(artifact.inline)
        return path

    def json(self, name: str) -> Any:
        """Read a ``json`` input."""
        artifact = self._find(name)
        if artifact.inline is not None:
            return json.loads(artifact.inline)
        with open(self.store.path(artifact), encoding="utf-8") as file:
            return json.load(file)

    def put_json(self, value: Any) -> Artifact:
        """Make a ``json`` result. Keys are sorted, so that equal values have equal digests."""
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        content = text.encode("utf-8", "surrogatepass")
        if len(content) <= INLINE_LIMIT:
            return Artifact(
                kind="json", digest=digest_bytes(content), size=len(content), inline=text
            )
        return Artifact(kind="json", digest=self.store.put_bytes(content), size=len(content))

    def put_file(self, path: str, kind: Kind = "file") -> Artifact:
        """Make a result of a file that the step wrote, which is consumed."""
        try:
            size = os.path.getsize(path)
        except FileNotFoundError as error:
            raise StoreError("the step was to write this file and did not", where=path) from error
        return Artifact(kind=kind, digest=self.store.put_file(path), size=size)

    def _find(self, name: str) -> Artifact:
        if name in self._job.inputs:
            return self._job.inputs[name]
        near = get_close_matches(name, self._job.inputs, n=1)
        raise StepError(
            f"the step has no input {name!r}",
            where=self._job.run,
            hint=f"did you mean {near[0]!r}?"
            if near
            else f"it has: {', '.join(self._job.inputs) or 'none'}",
        )
