"""Run onnxslim, where it is installed."""

from __future__ import annotations

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import from_proto, inline_functions, read, read_proto, store_root
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.onnxslim.spec import OnnxSlim

LIBRARY = "onnxslim"


def slim(work: Work) -> dict[str, Artifact]:
    """Simplify; the weights that stay as they are keep their blobs."""
    try:
        import onnxslim
    except ImportError as error:
        raise StageError(
            "the stage onnxslim needs the package onnxslim",
            hint="pip install 'onnxbuild[slim]', or use the stage `onnxoptimizer`",
        ) from error
    options = build(OnnxSlim, work.options)
    path = work.input("model")
    before = read(path)
    try:
        slimmed = onnxslim.slim(
            inline_functions(read_proto(path)),
            no_shape_infer=options.no_shape_infer,
            skip_optimizations=list(options.skip_optimizations) or None,
            skip_fusion_patterns=list(options.skip_fusion_patterns) or None,
            size_threshold=options.size_threshold,
        )
    except Exception as error:
        raise StageError(
            f"onnxslim fails on this model: {sessions.readable(error)}",
            hint="use `no_shape_infer: true`, or the stage `onnxoptimizer`",
        ) from error
    after = from_proto(slimmed, store_root(work.store))
    reuse(before, after)
    work.notes["nodes"] = [len(before.graph), len(after.graph)]
    hint = "onnxslim broke the model: leave out what did with `skip_fusion_patterns`"
    return {"model": finish(work, before, after, library=LIBRARY, hint=hint)}
