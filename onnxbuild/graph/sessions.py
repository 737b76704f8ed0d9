"""Sessions of onnxruntime with a constant number of threads, and its errors in words."""

from __future__ import annotations

import faulthandler
import os
import re
import resource
import signal
import warnings
from dataclasses import dataclass

import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from onnxbuild.errors import StageError
from onnxbuild.graph.emulate import needs_emulation, runnable

ERROR = 3
"""onnxruntime's log level for errors."""

WIDENING = "InsertedPrecisionFreeCast_"
"""How the names of the casts begin that onnxruntime puts around what it computes in float32 instead."""

LOADED = "loaded"
"""What the process answers that loaded a model."""

FOLDER_KEY = "session.model_external_initializers_file_folder_path"
"""onnxruntime's option that says where the weights of a model given as bytes lie."""

LARGE = 256 << 20
"""Bytes of weights from which memory counts for more than the time of a few runs."""

INTEGERS = 4
"""The ``accuracy_level`` of blocks of integers from which activations become integers too."""

TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
"""What onnxruntime calls the types that arrays have."""

MESSAGE_LIMIT = 400
"""Characters of a library's message that a reader is shown."""


def options(threads: int = 1) -> ort.SessionOptions:
    """Make session options whose results do not depend on the machine's number of cores."""
    made = ort.SessionOptions()
    made.intra_op_num_threads = threads
    made.inter_op_num_threads = threads
    made.log_severity_level = ERROR
    return made


def spare(settings: ort.SessionOptions, model: str | onnx.ModelProto) -> None:
    """Have kernels read the weights of a large model where they are mapped, instead of from packed copies.

    Measured on 1 GB of matrices: no anonymous memory instead of 0.98 GB, and sums in another order. Not where blocks of
    integers are multiplied as integers: from weights that are not packed onnxruntime makes floats, so what would be
    verified is better than what runs elsewhere (MiniLM: a cosine of 0.999 instead of 0.995).
    """
    proto = onnx.load(model, load_external_data=False) if isinstance(model, str) else model
    if _multiplies_integers(proto.graph):
        return
    weights = [tensor for tensor in proto.graph.initializer if uses_external_data(tensor)]
    if sum(int(ExternalDataInfo(tensor).length or 0) for tensor in weights) > LARGE:
        settings.add_session_config_entry("session.disable_prepacking", "1")


def _multiplies_integers(graph: onnx.GraphProto) -> bool:
    return any(
        (attribute.name == "accuracy_level" and attribute.i >= INTEGERS)
        or (attribute.HasField("g") and _multiplies_integers(attribute.g))
        for node in graph.node
        for attribute in node.attribute
    )


def find_weights(settings: ort.SessionOptions, path: str) -> None:
    """Let a model that is given as bytes find its weights where those of the model at `path` lie."""
    settings.add_session_config_entry(FOLDER_KEY, os.path.dirname(os.path.abspath(path)))
    spare(settings, path)


def load(path: str, *, threads: int = 1, made_by: str, hint: str = "") -> ort.InferenceSession:
    """Load a model on the CPU; one that computes in bfloat16 as what rounds like it.

    Raises `StageError` that names who made it, when it does not load.
    """
    settings = options(threads)
    try:
        proto = onnx.load(path, load_external_data=False)
        model: str | bytes = path
        if needs_emulation(proto):
            model = runnable(path).SerializeToString()
            find_weights(settings, path)
        spare(settings, proto)
        return ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise StageError(
            f"onnxruntime does not load what {made_by} made: {readable(error)}",
            hint=hint or "leave out the operator that it names, or use another stage",
        ) from error


@dataclass(frozen=True, slots=True)
class Loading:
    """How it went to load a model."""

    crash: str = ""
    """The signal that ended the process that loaded it."""

    error: str = ""
    """onnxruntime's words on why it does not load."""

    @property
    def failed(self) -> bool:
        """It does not load."""
        return bool(self.crash or self.error)


def try_loading(path: str, content: bytes | None = None) -> Loading:
    """Load the model at `path` in a process of its own, which may die of it.

    Given `content`, that is the model, whose weights lie where those of the one at `path` do.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns that other threads' locks are not inherited; the child uses none of theirs.
        warnings.filterwarnings("ignore", ".*use of fork.*", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(writer, path, content)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Loading(crash=signal.Signals(os.WTERMSIG(status)).name)
    if answer != LOADED:
        return Loading(error=answer or "its process ended early")
    return Loading()


def _answer(writer: int, path: str, content: bytes | None) -> None:
    """Load in the child, answer through the pipe and leave without running the parent's exits."""
    # A crash is an answer: it leaves neither a dump nor the parent's stack in the log.
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        try:
            settings = options()
            find_weights(settings, path)
            ort.InferenceSession(content or path, settings, providers=["CPUExecutionProvider"])
            answer = LOADED
        except Exception as error:  # noqa: BLE001 - it is the answer
            answer = full(error)
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


def readable(error: BaseException | str) -> str:
    """Cut a library's message to what a person can read: no paths of the store, no whole graphs."""
    text = full(error)
    return text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT].rsplit(" ", 1)[0] + " …"


def full(error: BaseException | str) -> str:
    """Give a library's message in one line, without paths of the store."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : (\w+) : ", r"\1: ", text)
    return re.sub(r"(?:Load model from )?/\S+\.onnx failed: ?", "", text)
