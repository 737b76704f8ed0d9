"""Run onnxoptimizer's passes."""

from __future__ import annotations

from collections import Counter

import onnx
import onnx_ir as ir
import onnxoptimizer

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import from_proto, inline_functions, read, read_proto, store_root
from onnxbuild.graph.names import check_names
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.onnxoptimizer.spec import OnnxOptimizer


def optimize(work: Work) -> dict[str, Artifact]:
    """Optimize; the weights that stay as they are keep their blobs."""
    options = build(OnnxOptimizer, work.options)
    passes = options.passes
    if passes is not None:
        check_names(passes, onnxoptimizer.get_available_passes(), option="passes", what="pass")
    path = work.input("model")
    before = read(path)
    optimized = _optimize(inline_functions(read_proto(path)), passes, options.fixed_point)
    after = from_proto(optimized, store_root(work.store))
    reuse(before, after)
    work.notes["nodes"] = [len(before.graph), len(after.graph)]
    work.notes["operators"] = _changes(before, after)
    return {"model": finish(work, before, after, library="onnxoptimizer")}


def _optimize(
    model: onnx.ModelProto, passes: tuple[str, ...] | None, fixed_point: bool
) -> onnx.ModelProto:
    try:
        return onnxoptimizer.optimize(
            model, None if passes is None else list(passes), fixed_point=fixed_point
        )
    except Exception as error:
        raise StageError(
            f"onnxoptimizer fails on this model: {sessions.readable(error)}",
            hint="name fewer `passes`, or use the stage `onnxruntime` with `level: basic` instead",
        ) from error


def _changes(before: ir.Model, after: ir.Model) -> dict[str, int]:
    """Say how many nodes of each operator came (or went, below zero)."""
    old = Counter(node.op_type for node in before.graph)
    new = Counter(node.op_type for node in after.graph)
    return {name: new[name] - old[name] for name in sorted({*old, *new}) if new[name] != old[name]}
