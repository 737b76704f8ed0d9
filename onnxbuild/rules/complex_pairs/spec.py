"""The rule ``complex_pairs``: what a recipe may say. The work is in `onnxbuild.rules.complex_pairs.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxbuild.recipe.rule import Level, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexPairs(Rule):
    """Compute with complex numbers as pairs of real ones, and Fourier transforms as matrix products, in any opset.

    For models that are real outside: ``torch.fft``, ``stft`` and ``istft``, rotations by ``torch.polar`` and
    ``view_as_complex``, complex weights. The matrices are computed from the sizes, so that these may vary; a
    transform of n values takes n² products.
    """

    level: ClassVar[Level] = "module"
    run: ClassVar[str] = "onnxbuild.rules.complex_pairs.run:apply"
