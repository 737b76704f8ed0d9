"""Sessions of onnxruntime with a constant number of threads, and its errors in words."""

from __future__ import annotations

import re

import onnx_ir as ir
import onnxruntime as ort

from onnxbuild.errors import StageError

ERROR = 3
"""onnxruntime's log level for errors."""

WIDENING = "InsertedPrecisionFreeCast_"
"""How the names of the casts begin that onnxruntime puts around what it computes in float32 instead."""

MESSAGE_LIMIT = 400
"""Characters of a library's message that a reader is shown."""


def options(threads: int = 1) -> ort.SessionOptions:
    """Make session options whose results do not depend on the machine's number of cores."""
    made = ort.SessionOptions()
    made.intra_op_num_threads = threads
    made.inter_op_num_threads = threads
    made.log_severity_level = ERROR
    return made


def load(path: str, *, threads: int = 1, made_by: str, hint: str = "") -> ort.InferenceSession:
    """Load a model on the CPU. Raises `StageError` that names who made it, when it does not load."""
    try:
        return ort.InferenceSession(path, options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise StageError(
            f"onnxruntime does not load what {made_by} made: {readable(error)}",
            hint=hint or "leave out the operator that it names, or use another stage",
        ) from error


def widened(model: ir.Model) -> list[str]:
    """Name the operators that onnxruntime moved from half precision to float32 in a graph that it saved.

    Its CPU provider has few kernels for half precision. It puts casts around the others, whatever
    the level, and leaves them in what it saves.
    """
    casts = [node for node in model.graph if (node.name or "").startswith(WIDENING)]
    users = {user.op_type for cast in casts for value in cast.outputs for user, _ in value.uses()}
    return sorted(users - {"Cast"})


def readable(error: BaseException) -> str:
    """Cut a library's message to what a person can read: no paths of the store, no whole graphs."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : (\w+) : ", r"\1: ", text)
    text = re.sub(r"(?:Load model from )?/\S+\.onnx failed: ?", "", text)
    return text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT].rsplit(" ", 1)[0] + " …"
