"""The ``split`` stage: what a recipe may say. The work is in `.run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from onnxbuild.core.step import Output, Resources, Step
from onnxbuild.recipe.schema import Limits
from onnxbuild.recipe.stage import Stage, StageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Stage):
    """Make several models that run one after the other, each fed by name with what those before it gave.

    Published as ``part-1.onnx``, ``part-2.onnx`` …; build.json lists what each takes and gives. Verified as a chain.
    Comes last.
    """

    parts: Annotated[int, Limits(minimum=2)] | None = None
    """How many, of about the same bytes of weights; cut where few values pass from one to the next. 2 if neither
    this nor `at` is given."""

    at: tuple[str, ...] = ()
    """Where each part ends, in order, instead: after a torch module (``encoder.layers.3``), or after a value by its
    name. A part has all that its end depends on; what is left is the last one."""

    def apply(self, model: Output, context: StageContext) -> Output:
        """Become one step, which gives the whole model too: what is known of it is known of its parts."""
        step = Step(
            label=f"{context.name}: split into {self.count()}",
            run="onnxbuild.stages.split.run:split",
            options=self,
            inputs={"model": model},
            outputs=("model", *self._names()),
            libraries=("onnx", "onnx-ir", "onnxruntime", "numpy"),
            resources=Resources(isolate=True),
        )
        return Output(step)

    def count(self) -> int:
        """Say how many parts there will be."""
        return len(self.at) + 1 if self.at else self.parts or 2

    def files(self, made: Output) -> Mapping[str, Output]:
        """Give the parts."""
        return {f"{name}.onnx": Output(made.step, name) for name in self._names()}

    def is_last(self) -> bool:
        """The parts are no single model."""
        return True

    def contradicts(self) -> str:
        """The parts are counted by one of the two."""
        return "give `parts` or `at`, not both" if self.parts is not None and self.at else ""

    def refuses(self, earlier: Stage) -> str:
        """Numpy, and so what feeds onnxruntime, has no bfloat16."""
        if earlier.find_precision() == "bf16":
            return "values in bfloat16 cannot be handed from one session to the next: use float16"
        return ""

    def _names(self) -> list[str]:
        return [f"part-{number}" for number in range(1, self.count() + 1)]
