"""The ``ort_format`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.stage import Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtFormat(Stage):
    """Write the model in onnxruntime's own format, for its small builds on phones and in browsers.

    Published as ``model.ort``, optimized already, and verified as that file. Comes last.
    onnxruntime writes its tables in an order that differs from run to run: the numbers are reproducible, the file's
    bytes are not, so `lock` holds such a variant to the file that a store has.
    """

    level: Literal["basic", "extended", "all"] = "extended"
    """How far it is optimized. ``basic`` stays in standard operators; ``all`` lays out memory for this class of
    processor: such a file belongs on machines like this one."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step, which gives the model that it was made of too: what is known of it is known of the file."""
        step = Step(
            label=f"{context.name}: ort format",
            run="onnxbuild.stages.ort_format.run:convert",
            options=self,
            inputs={"model": model},
            outputs=("model", "ort"),
            libraries=("onnx", "onnx-ir", "onnxruntime"),
            machine=self.level == "all",
            resources=Resources(isolate=True),
        )
        return Output(step)

    def files(self, made: Output) -> Mapping[str, Output]:
        """Give the file."""
        return {"model.ort": Output(made.step, "ort")}

    def is_last(self) -> bool:
        """No other tool reads the format."""
        return True

    def refuses(self, earlier: Stage) -> str:
        """Onnxruntime writes what it would compute here, and on a CPU half precision becomes float32."""
        if earlier.form() == "half":
            return "start from a stage before that (`from:`): onnxruntime would write float32 with casts around it"
        return ""
