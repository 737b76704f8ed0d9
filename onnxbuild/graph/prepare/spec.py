"""The step ``prepare for quantization``: what a recipe may say, and the step that it becomes."""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.core.step import Output, Resources, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class PreProcess:
    """Shape inference and basic optimization before quantization; see ``quant_pre_process``."""

    skip_optimization: bool = False
    """Leave out onnxruntime's basic optimization, which folds constants and batch normalization."""

    skip_onnx_shape: bool = False
    """Leave out onnx's shape inference. A tensor of unknown type is not quantized."""

    skip_symbolic_shape: bool = False
    """Leave out symbolic shape inference. Where it fails on a model it is left out with a note."""

    auto_merge: bool = False
    """Symbolic inference: merge symbolic dimensions that conflict."""

    int_max: int = 2**31 - 1
    """Symbolic inference: the integer from which an end counts as unbounded."""

    guess_output_rank: bool = False
    """Symbolic inference: take the rank of input 0 for operators that it does not know."""


def prepare(model: Output, wanted: bool | PreProcess) -> Output:
    """Give the output that stands for `model` once it is prepared; `model` itself if unwanted."""
    if wanted is False:
        return model
    step = Step(
        label="prepare for quantization",
        run="onnxbuild.graph.prepare.run:prepare",
        options=PreProcess() if wanted is True else wanted,
        inputs={"model": model},
        libraries=("onnx", "onnx-ir", "onnxruntime", "numpy", "sympy"),
        resources=Resources(isolate=True),
    )
    return Output(step)
