"""Write a model as onnxruntime keeps it in memory."""

from __future__ import annotations

import os

import onnxruntime as ort

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import half_type
from onnxbuild.graph.load import read
from onnxbuild.stages.ort_format.spec import OrtFormat

LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

LIMIT = 2**31 - 1
"""Bytes that a flatbuffer can have."""


def convert(work: Work) -> dict[str, Artifact]:
    """Have a session save what it made of the model, and load that again."""
    options = build(OrtFormat, work.options)
    source = work.inputs()["model"]
    if source.size > LIMIT:
        raise StageError(
            f"the model takes {source.size / 1e9:.2f} GB, and a file in ORT format can hold {LIMIT / 1e9:.2f} GB",
            hint="quantize it first, or leave it as ONNX with external data",
        )
    if half_type(read(work.input("model"))) is not None:
        raise StageError(
            "the model is in half precision, which onnxruntime would write as float32 with casts around it",
            hint="start from a float32 or quantized stage (`from:`)",
        )
    target = os.path.join(work.folder, "model.ort")
    settings = sessions.options()
    settings.graph_optimization_level = LEVELS[options.level]
    settings.optimized_model_filepath = target
    settings.add_session_config_entry("session.save_model_format", "ORT")
    try:
        ort.InferenceSession(work.input("model"), settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise StageError(
            f"onnxruntime does not write this model in its own format: {sessions.readable(error)}",
            hint="look at the operator that it names; `onnxbuild opsets` lists what it runs",
        ) from error
    try:
        ort.InferenceSession(target, sessions.options(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise StageError(
            f"onnxruntime does not load what it wrote in its own format: {sessions.readable(error)}",
            hint="take a lower `level`, or leave the model as ONNX",
        ) from error
    work.notes["onnxruntime"] = ort.__version__
    if options.level == "all":
        work.notes["machine"] = "optimized for this class of processor; others may not run it"
    return {"model": source, "ort": work.put_file(target)}
