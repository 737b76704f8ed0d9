"""Prepare a graph for quantization, as onnxruntime's ``quant_pre_process`` does.

Not that function itself: it lifts opsets up to 10 to 11 without being asked, loads all weights, and
fails as a whole where one of its three parts does.
"""

from __future__ import annotations

import contextlib
import os

import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.graph import sessions, types
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import read, scratch_copy
from onnxbuild.graph.prepare.spec import PreProcess

LIBRARY = "pre-processing"


def prepare(work: Work) -> dict[str, Artifact]:
    """Infer shapes, optimize, infer shapes again. The weights stay where they are."""
    options = build(PreProcess, work.options)
    before = read(work.input("model"))
    types.import_domains(before)
    with scratch_copy(work) as copy:
        path = copy
        onnx.save(ir.to_proto(before), path)
        if not options.skip_symbolic_shape:
            _infer_symbolically(path, options, work)
        if not options.skip_optimization:
            path = _optimize(path, work)
        if not options.skip_onnx_shape:
            inferred = path.removesuffix(".onnx") + "-inferred.onnx"
            path = _infer(path, inferred, work)
        after = read(path)
        types.name_nodes(after)
        if not options.skip_onnx_shape:
            work.notes["types_by_onnxruntime"] = types.complete(after, copy)
        return {"model": finish(work, before, after, library=LIBRARY)}


def _infer_symbolically(path: str, options: PreProcess, work: Work) -> None:
    graph = onnx.load(path, load_external_data=False)
    try:
        # When it gives up it writes the model into the working directory.
        with contextlib.chdir(work.folder):
            inferred = SymbolicShapeInference.infer_shapes(
                graph,
                int_max=options.int_max,
                auto_merge=options.auto_merge,
                guess_output_rank=options.guess_output_rank,
            )
    except Exception as error:  # noqa: BLE001 - it raises whatever it stumbles over
        reason = sessions.readable(error)
        print(f"symbolic shape inference failed ({reason}); onnx's and onnxruntime's are used")  # noqa: T201
        work.notes["symbolic_shape_inference"] = f"left out: {reason}"
        return
    if inferred is not None:
        onnx.save(inferred, path)


def _infer(path: str, target: str, work: Work) -> str:
    try:
        onnx.shape_inference.infer_shapes_path(path, target)
    except onnx.shape_inference.InferenceError as error:
        reason = sessions.readable(error)
        print(f"onnx's shape inference failed ({reason}); onnxruntime's is used alone")  # noqa: T201
        work.notes["onnx_shape_inference"] = f"left out: {reason}"
        return path
    return target


def _optimize(path: str, work: Work) -> str:
    target = path.removesuffix(".onnx") + "-optimized.onnx"
    settings = sessions.options()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = target
    try:
        ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - whatever onnxruntime raises
        reason = sessions.readable(error)
        print(f"basic optimization failed ({reason}); the model is quantized without it")  # noqa: T201
        work.notes["optimization"] = f"left out: {reason}"
        return path
    if not os.path.exists(target):
        return path
    widened = sessions.widened(read(target))
    if widened:
        work.notes["optimization"] = f"left out: it would compute {', '.join(widened)} in float32"
        return path
    return target
