"""Run onnxoptimizer's passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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

MERGES_RESHAPES = "eliminate_consecutive_idempotent_ops"
"""Makes one of two reshapes even where the second copies dimensions (a 0 in its shape) of the first's
result; seen on a pixel shuffle, which no longer loads."""


def optimize(work: Work) -> dict[str, Artifact]:
    """Optimize; the weights that stay as they are keep their blobs."""
    options = build(OnnxOptimizer, work.options)
    path = work.input("model")
    before = read(path)
    passes: Sequence[str]
    if options.passes is not None:
        passes = options.passes
        check_names(passes, onnxoptimizer.get_available_passes(), option="passes", what="pass")
    else:
        passes = _default_passes(before, work)
    optimized = _optimize(inline_functions(read_proto(path)), passes, options.fixed_point)
    after = from_proto(optimized, store_root(work.store))
    reuse(before, after)
    work.notes["nodes"] = [len(before.graph), len(after.graph)]
    work.notes["operators"] = _changes(before, after)
    hint = "a pass broke the model: name those that it should run under `passes`"
    return {"model": finish(work, before, after, library="onnxoptimizer", hint=hint)}


def _default_passes(model: ir.Model, work: Work) -> list[str]:
    """Give the passes that fuse or eliminate, less the one that would break this model."""
    passes = [str(name) for name in onnxoptimizer.get_fuse_and_elimination_passes()]
    if MERGES_RESHAPES in passes and not all(map(_is_plain_reshape, model.graph.all_nodes())):
        passes.remove(MERGES_RESHAPES)
        work.notes["left_out"] = f"{MERGES_RESHAPES}: it merges reshapes that copy dimensions"
    return passes


def _is_plain_reshape(node: ir.Node) -> bool:
    """False for a Reshape whose shape has, or may have, a zero: it copies a dimension of its input."""
    if node.op_type != "Reshape" or len(node.inputs) < 2 or node.inputs[1] is None:  # noqa: PLR2004
        return True
    shape = ir.convenience.get_const_tensor(node.inputs[1])
    return shape is not None and bool((shape.numpy() != 0).all())


def _optimize(model: onnx.ModelProto, passes: Sequence[str], fixed_point: bool) -> onnx.ModelProto:
    try:
        return onnxoptimizer.optimize(model, list(passes), fixed_point=fixed_point)
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
