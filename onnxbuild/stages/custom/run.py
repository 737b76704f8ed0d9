"""Call a user's function on the graph, and check what comes back."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.entries import load
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.finish import finish
from onnxbuild.graph.load import from_proto, read, read_proto, store_root
from onnxbuild.graph.weights import reuse
from onnxbuild.stages.custom.spec import Custom


def call(work: Work) -> dict[str, Artifact]:
    """Call the function. What it raises is passed on as it is."""
    options = build(Custom, work.options)
    function = load(options.function)
    if not callable(function):
        raise StageError("the stage is not callable", where=options.function)
    path = work.input("model")
    before = read(path)
    returned = function(read_proto(path), **options.options)
    if isinstance(returned, onnx.ModelProto):
        after = from_proto(returned, store_root(work.store))
    elif isinstance(returned, ir.Model):
        after = returned
    else:
        raise StageError(
            f"the stage returned {_name(returned)}, not a model",
            where=options.function,
            hint="return an onnx.ModelProto or an onnx_ir.Model; a function that changes its argument"
            " must return it too",
        )
    reuse(before, after)
    artifact = finish(work, before, after, library=options.function)
    try:
        onnx.checker.check_model(work.store.path(artifact))
    except onnx.checker.ValidationError as error:
        raise StageError(
            f"onnx.checker refuses the model: {sessions.readable(error)}", where=options.function
        ) from error
    return {"model": artifact}


def _name(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
