"""The ``onnxruntime`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.stage import Form, Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntime(Stage):
    """Keep the graph as onnxruntime optimizes it when it loads a model."""

    level: Literal["basic", "extended", "all"] = "basic"
    """``basic`` stays in standard operators; ``extended`` fuses into operators that only onnxruntime has;
    ``all`` lays out memory for this class of processor: such a model belongs on machines like this one."""

    disabled_optimizers: tuple[str, ...] = ()
    """Optimizers to leave out, by onnxruntime's names: ``ConstantFolding``, ``MatMulAddFusion``."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """The execution providers that it is optimized for; they must be installed."""

    config_entries: Mapping[str, str] = field(default_factory=dict)
    """Session settings (``SessionOptions.add_session_config_entry``)."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step."""
        step = Step(
            label=f"{context.name}: onnxruntime, {self.level}",
            run="onnxbuild.stages.onnxruntime.run:optimize",
            options=self,
            inputs={"model": model},
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            machine=self.level == "all" or self.providers != ("CPUExecutionProvider",),
            resources=Resources(isolate=True),
        )
        return Output(step)

    def form(self) -> Form:
        """Fused or laid out, by the level."""
        forms: dict[str, Form] = {"extended": "fused", "all": "layout"}
        return forms.get(self.level, "")

    def refuses(self, earlier: Stage) -> str:
        """Onnxruntime has no kernels in half precision on the CPU, and would compute in float32."""
        if earlier.form() == "half" and self.providers == ("CPUExecutionProvider",):
            return "optimize first, and let `float16` start from the result"
        return ""
