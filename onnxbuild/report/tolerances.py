"""How far an output may be from PyTorch's, for each precision, where the recipe does not say.

Always the error and the angle together: a model ten times too small has a cosine of 1, and one that
gives noise around a large constant has a small scaled error. Chosen to let right conversions through on
any architecture and to stop wrong ones (seen: cosines of 0.9 and less); a recipe asks for what its use needs.
"""

from __future__ import annotations

from onnxbuild.recipe.schema import Tolerance, Verify
from onnxbuild.recipe.stage import Precision

DEFAULTS: dict[Precision, Tolerance] = {
    "fp32": Tolerance(scaled=0.001, cosine=0.9999),
    "fp16": Tolerance(scaled=0.01, cosine=0.999),
    "int8": Tolerance(scaled=0.3, cosine=0.95),
}

EXACT: dict[Precision, float] = {"fp32": 0.0, "fp16": 0.02, "int8": 0.1}
"""Share of the values of an integer or boolean output that may differ: classes and indices flip where two
scores are close."""

TRUE_HALF = Tolerance(scaled=0.1, cosine=0.99)
"""How far true half precision may be from onnxruntime's. Wider than the precision's own: the reference
implementation rounds after every addition, which no accelerator does."""

RTOL = 1e-5
"""As `numpy.allclose` has it, where only `atol` is given."""
ATOL = 1e-8
"""Likewise, where only `rtol` is given."""


def tolerances(precision: Precision) -> Tolerance:
    """Give the default tolerance of a precision."""
    return DEFAULTS[precision]


def find_tolerance(verify: Verify, output: str, precision: Precision) -> tuple[Tolerance, bool]:
    """Give the tolerance of an output, and whether the recipe asks for it.

    What the recipe gives replaces the defaults. But a cosine alone keeps the default of ``scaled``, since a
    cosine does not see a wrong size.
    """
    default = tolerances(precision)
    for given in (verify.outputs.get(output), verify):
        if given is None:
            continue
        if given.rtol is not None or given.atol is not None or given.scaled is not None:
            return Tolerance(
                rtol=given.rtol, atol=given.atol, scaled=given.scaled, cosine=given.cosine
            ), True
        if given.cosine is not None:
            return Tolerance(scaled=default.scaled, cosine=given.cosine), True
    return default, False
