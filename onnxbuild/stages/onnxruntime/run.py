"""Save the graph that onnxruntime makes of a model."""

from __future__ import annotations

import onnxruntime as ort

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import read, scratch_copy
from onnxbuild.graph.names import check_names
from onnxbuild.stages.onnxruntime.spec import OnnxRuntime

LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def optimize(work: Work) -> dict[str, Artifact]:
    """Load the model with the optimized graph saved beside it, its unchanged weights still blobs."""
    options = build(OnnxRuntime, work.options)
    check_names(
        options.providers, ort.get_available_providers(), option="providers", what="provider"
    )
    before = read(work.input("model"))
    with scratch_copy(work) as path:
        target = path.removesuffix(".onnx") + "-optimized.onnx"
        settings = sessions.options()
        settings.graph_optimization_level = LEVELS[options.level]
        settings.optimized_model_filepath = target
        for key, value in sorted(options.config_entries.items()):
            settings.add_session_config_entry(key, value)
        try:
            ort.InferenceSession(
                path,
                settings,
                providers=list(options.providers),
                disabled_optimizers=list(options.disabled_optimizers),
            )
        except Exception as error:
            raise StageError(
                f"onnxruntime does not load this model: {sessions.readable(error)}",
                hint="look at the operator that it names; `onnxbuild opsets` lists what it runs",
            ) from error
        after = read(target)
        widened = sessions.widened(after)
        if widened:
            raise StageError(
                f"onnxruntime has no kernels in half precision for {', '.join(widened)} here, and would turn "
                "them into float32 with casts around them",
                hint="optimize first, and let `float16` start from this stage (`from:`)",
            )
        work.notes["nodes"] = [len(before.graph), len(after.graph)]
        if options.level == "all":
            work.notes["machine"] = "optimized for this class of processor; others may not run it"
        return {"model": finish(work, before, after, library="onnxruntime's optimizer")}
