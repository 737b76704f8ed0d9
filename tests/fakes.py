"""Fakes at our own ports, written once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_bytes
from onnxbuild.core.ports import Deliver, Failure, Job, Outcome
from onnxbuild.stores.local import LocalStore


def make_json(value: object) -> Artifact:
    """Make a small inline artifact."""
    text = json.dumps(value)
    return Artifact(kind="json", digest=digest_bytes(text.encode()), size=len(text), inline=text)


def read_json(artifact: Artifact) -> object:
    """Read an inline artifact."""
    assert artifact.inline is not None
    return json.loads(artifact.inline)


class FakeExecutor:
    """Runs functions that a test gives by name, at once and in this process."""

    def __init__(self, deliver: Deliver, functions: Mapping[str, Callable[[Job], Outcome]]) -> None:
        self.deliver = deliver
        self.functions = functions
        self.ran: list[str] = []
        self.prepared: list[str] = []
        self.closed = False

    def prepare(self, modules: Sequence[str], *, soon: bool = False) -> None:
        self.prepared = list(modules)

    def submit(self, job: Job) -> None:
        self.ran.append(job.label)
        function = self.functions.get(job.run, upper)
        self.deliver(job.id, function(job))

    def cancel(self, job_id: str) -> None:
        self.deliver(job_id, Outcome(status="cancelled"))

    def close(self) -> None:
        self.closed = True


def upper(job: Job) -> Outcome:
    """Join the inputs and the options into one value: a step whose result depends on all it is given."""
    value = [job.options, {name: read_json(item) for name, item in sorted(job.inputs.items())}]
    return Outcome(
        status="ok", results={name: make_json(value) for name in job.outputs}, seconds=0.5
    )


def read_file(path: str) -> Callable[[Job], Outcome]:
    """Make a function that reads a file of the project, and is seen to."""

    def function(job: Job) -> Outcome:
        with open(os.path.join(job.root, path), "rb") as file:
            content = file.read()
        facts = (("file", "./" + path, digest_bytes(content)),)
        return Outcome(
            status="ok",
            results={name: make_json(content.decode()) for name in job.outputs},
            observations=facts,
        )

    return function


def blob_of(store: LocalStore, text: str) -> Callable[[Job], Outcome]:
    """Make a function whose result is a blob in the store."""

    def function(job: Job) -> Outcome:
        digest = store.put_bytes(text.encode())
        artifact = Artifact(kind="file", digest=digest, size=len(text))
        return Outcome(status="ok", results=dict.fromkeys(job.outputs, artifact))

    return function


def fail(what: str) -> Callable[[Job], Outcome]:
    """Make a function that fails."""
    return lambda _: Outcome(status="failed", failure=Failure(what=what))
