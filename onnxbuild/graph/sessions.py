"""Sessions of onnxruntime with a constant number of threads, and its errors in words."""

from __future__ import annotations

import faulthandler
import os
import re
import resource
import signal
import warnings

import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from onnxbuild.errors import StageError

ERROR = 3
"""onnxruntime's log level for errors."""

WIDENING = "InsertedPrecisionFreeCast_"
"""How the names of the casts begin that onnxruntime puts around what it computes in float32 instead."""

LOADED = "loaded"
"""What the process answers that loaded a model."""

LARGE = 256 << 20
"""Bytes of weights from which memory counts for more than the time of a few runs."""

MESSAGE_LIMIT = 400
"""Characters of a library's message that a reader is shown."""


def options(threads: int = 1) -> ort.SessionOptions:
    """Make session options whose results do not depend on the machine's number of cores."""
    made = ort.SessionOptions()
    made.intra_op_num_threads = threads
    made.inter_op_num_threads = threads
    made.log_severity_level = ERROR
    return made


def spare(settings: ort.SessionOptions, path: str) -> None:
    """Have kernels read the weights of a large model where they are mapped, instead of from packed copies.

    Measured on 1 GB of matrices: no anonymous memory instead of 0.98 GB, and sums in another order.
    """
    proto = onnx.load(path, load_external_data=False)
    weights = [tensor for tensor in proto.graph.initializer if uses_external_data(tensor)]
    if sum(int(ExternalDataInfo(tensor).length or 0) for tensor in weights) > LARGE:
        settings.add_session_config_entry("session.disable_prepacking", "1")


def load(path: str, *, threads: int = 1, made_by: str, hint: str = "") -> ort.InferenceSession:
    """Load a model on the CPU. Raises `StageError` that names who made it, when it does not load."""
    settings = options(threads)
    try:
        spare(settings, path)
        return ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise StageError(
            f"onnxruntime does not load what {made_by} made: {readable(error)}",
            hint=hint or "leave out the operator that it names, or use another stage",
        ) from error


def load_apart(path: str, *, made_by: str, hint: str = "") -> str:
    """Load a model in a process of its own, and name the signal that ended it: empty where it loads.

    Raises `StageError` as `load` does.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns that other threads' locks are not inherited; the child uses none of theirs.
        warnings.filterwarnings("ignore", ".*use of fork.*", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(writer, path)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    if answer != LOADED:
        raise StageError(
            f"onnxruntime does not load what {made_by} made: {answer or 'its process ended early'}",
            hint=hint,
        )
    return ""


def _answer(writer: int, path: str) -> None:
    """Load in the child, answer through the pipe and leave without running the parent's exits."""
    # A crash is an answer: it leaves neither a dump nor the parent's stack in the log.
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        try:
            ort.InferenceSession(path, options(), providers=["CPUExecutionProvider"])
            answer = LOADED
        except Exception as error:  # noqa: BLE001 - it is the answer
            answer = readable(error)
        os.write(writer, answer.encode())
    finally:
        os._exit(0)


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
