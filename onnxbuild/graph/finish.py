"""The end of every stage: the model keeps its interface, goes into the store, and loads."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.graph import sessions
from onnxbuild.graph.keep import keep
from onnxbuild.graph.save import put


def finish(
    work: Work,
    before: ir.Model,
    after: ir.Model,
    *,
    library: str,
    retyped: Collection[str] = (),
    hint: str = "",
    load: bool = True,
) -> Artifact:
    """Keep what a library made of `before`, once it has been held to its word and loads.

    Raises `StageError` where the opset or the interface changed (see `keep`), or where onnxruntime
    does not load it; `hint` says then what to do. Without `load`, the caller sees to the latter.
    """
    keep(before, after, library=library, retyped=retyped)
    artifact = put(after, work.store)
    if load:
        sessions.load(work.store.path(artifact), made_by=library, hint=hint)
    return artifact
