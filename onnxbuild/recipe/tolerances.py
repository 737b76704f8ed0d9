"""How far an output may be from PyTorch's, for each precision, where the recipe does not say.

Always the error and the angle together: a model ten times too small has a cosine of 1, and one that
gives noise around a large constant has a small scaled error. Chosen to let right conversions through on
any architecture and to stop wrong ones (seen: cosines of 0.9 and less); a recipe asks for what its use needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from onnxbuild.recipe.schema import Tolerance, Verify
from onnxbuild.recipe.stage import Precision

DEFAULTS: dict[Precision, Tolerance] = {
    "fp32": Tolerance(scaled=0.001, cosine=0.9999),
    "fp16": Tolerance(scaled=0.01, cosine=0.999),
    "bf16": Tolerance(scaled=0.08, cosine=0.99),
    "int8": Tolerance(scaled=0.3, cosine=0.95),
}

EXACT: dict[Precision, float] = {"fp32": 0.0, "fp16": 0.02, "bf16": 0.05, "int8": 0.1}
"""Share of the values of an integer or boolean output that may differ: classes and indices flip where two
scores are close."""

TINY = 1e-30
"""Stands for a limit of zero, by which nothing can be divided."""

RTOL = 1e-5
"""As `numpy.allclose` has it, where only `atol` is given."""
ATOL = 1e-8
"""Likewise, where only `rtol` is given."""


def tolerances(precision: Precision) -> Tolerance:
    """Give the default tolerance of a precision."""
    return DEFAULTS[precision]


def find_tolerance(verify: Verify, output: str, precision: Precision) -> tuple[Tolerance, bool]:
    """Give the tolerance of an output, and whether the recipe asks for it.

    What the recipe gives replaces the defaults, and all of it must hold: what it gives for the output beats, one
    by one, what it gives for the variant. But a cosine alone keeps the default of ``scaled``, since a cosine
    does not see a wrong size; and ``scaled_per_channel`` comes to whatever else holds.
    """
    default = tolerances(precision)
    levels = [given for given in (verify.outputs.get(output), verify) if given is not None]

    def first(name: str) -> float | None:
        return next((value for one in levels if (value := getattr(one, name)) is not None), None)

    # Two halves of one bound.
    bound = next((one for one in levels if one.rtol is not None or one.atol is not None), None)
    scaled, cosine, channel = first("scaled"), first("cosine"), first("scaled_per_channel")
    if bound is None and scaled is None and cosine is None:
        return replace(default, scaled_per_channel=channel), False
    return Tolerance(
        rtol=bound.rtol if bound else None,
        atol=bound.atol if bound else None,
        scaled=default.scaled if bound is None and scaled is None else scaled,
        cosine=cosine,
        scaled_per_channel=channel,
    ), True


def find_excess(result: Mapping[str, Any], tolerance: Tolerance) -> float:
    """Give by how many times a comparison's errors exceed a tolerance; at most 1 where it holds.

    `result` is that of one output at one shape, as `onnxbuild.steps.verify.compare` gives it. What cannot be
    compared, or is not finite, is infinitely far off.
    """
    if result.get("problem") or not result["finite"]:
        return math.inf
    if "mismatched" in result:
        return float(result["mismatched"]) / EXACT["fp16"]
    excess = [0.0]
    if tolerance.rtol is not None or tolerance.atol is not None:
        rtol = RTOL if tolerance.rtol is None else tolerance.rtol
        atol = ATOL if tolerance.atol is None else tolerance.atol
        excess += [error / max(atol + rtol * size, TINY) for size, error in result["hull"]]
    if tolerance.scaled is not None:
        excess.append(_ratio(result["scaled"], tolerance.scaled))
    if tolerance.cosine is not None:
        cosine = result["cosine"]
        excess.append(_ratio(None if cosine is None else 1 - cosine, 1 - tolerance.cosine))
    return max(excess)


def _ratio(value: float | None, limit: float) -> float:
    return math.inf if value is None else value / max(limit, TINY)
