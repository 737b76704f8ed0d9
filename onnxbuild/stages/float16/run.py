"""Convert a model to half precision, and see that it loads.

Weights are converted one at a time as they go into the store, so that no model is ever whole in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build, plain
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import emulate
from onnxbuild.graph.load import store_root
from onnxbuild.stages.float16.conversion import Conversion
from onnxbuild.stages.float16.loading import Search
from onnxbuild.stages.float16.observing import look
from onnxbuild.stages.float16.spec import Float16, TrialOptions
from onnxbuild.stages.float16.tried import refuse


def convert(work: Work) -> dict[str, Artifact]:
    """Convert; the result loads in onnxruntime, and every weight that could is half precision."""
    options = build(Float16, work.options)
    return {"model": _convert(work, options, None)}


def convert_some(work: Work) -> dict[str, Artifact]:
    """Convert the named nodes alone."""
    options = build(TrialOptions, work.options)
    artifact = _convert(work, options.stage, frozenset(options.halves))
    if options.tried:
        work.notes["trials"] = plain(options.tried)
        if not work.notes["float16_weights"]:
            raise refuse(options.tried)
    return {"model": artifact}


def _convert(work: Work, options: Float16, halves: frozenset[str] | None) -> Artifact:
    conversion = Conversion(work, options)
    ranges, rounded = look(work, conversion)
    told: dict[str, Any] = {}

    def attempt(blocked: Mapping[str, str]) -> tuple[Artifact | None, sessions.Loading]:
        artifact, notes = conversion.make(ranges, rounded, blocked, halves)
        if artifact is None:
            # Where nothing is half any more it loads, as it did before.
            return None, sessions.Loading()
        told.clear()
        told.update(notes)
        path = work.store.path(artifact)
        if options.dtype == "float16":
            return artifact, sessions.try_loading(path)
        emulated = emulate(path, store_root(work.store))
        return artifact, sessions.try_loading(path, emulated.SerializeToString())

    search = Search(conversion.nodes, attempt)
    artifact, loading = search.run()
    if artifact is None or loading.failed:
        why = loading.crash or loading.error or next(iter(search.culprits.values()))
        raise StageError(
            f"onnxruntime does not load it in half precision: {sessions.readable(why)}",
            hint="put the operator that it names into `op_block_list`, or the node into `node_block_list`",
        )
    if search.culprits:
        print(f"in float32, or it would not load: {', '.join(search.culprits)}")  # noqa: T201
    work.notes.update(told)
    return artifact
