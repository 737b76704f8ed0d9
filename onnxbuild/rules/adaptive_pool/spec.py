"""The rule ``adaptive_pool``: what a recipe may say. The work is in `onnxbuild.rules.adaptive_pool.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptivePool(Rule):
    """Compute adaptive average and maximum pooling from the sizes, so that it holds at every size.

    Layers and calls of ``torch.nn.functional`` alike. Exporters take the size of the example for a constant, or refuse.
    Pooling to one value stays as it is, since every exporter has it; so do calls that ask for indices.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.adaptive_pool.run:apply"
