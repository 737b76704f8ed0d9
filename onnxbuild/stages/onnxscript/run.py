"""Run onnxscript's optimizer. It works on lazily read weights, so that large models stay on disk."""

from __future__ import annotations

import onnxscript.optimizer

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import read
from onnxbuild.stages.onnxscript.spec import OnnxScript

LIBRARY = "onnxscript's optimizer"


def optimize(work: Work) -> dict[str, Artifact]:
    """Optimize; the weights that stay as they are keep their blobs."""
    options = build(OnnxScript, work.options)
    before, after = read(work.input("model")), read(work.input("model"))
    try:
        onnxscript.optimizer.optimize(
            after,
            num_iterations=options.num_iterations,
            onnx_shape_inference=options.onnx_shape_inference,
            input_size_limit=options.input_size_limit,
            output_size_limit=options.output_size_limit,
            inline=options.inline,
        )
    except Exception as error:
        raise StageError(
            f"{LIBRARY} fails on this model: {sessions.readable(error)}",
            hint="use onnx_shape_inference: false, or the stage `onnxoptimizer`",
        ) from error
    work.notes["nodes"] = [len(before.graph), len(after.graph)]
    hint = "the optimizer broke the model: use the stage `onnxoptimizer`, or `onnxruntime`"
    return {"model": finish(work, before, after, library=LIBRARY, hint=hint)}
