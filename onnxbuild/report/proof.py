"""Whether a comparison that a broken weight has passed tells it from the model all the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onnxbuild.recipe.schema import Verify
from onnxbuild.recipe.stage import Precision
from onnxbuild.recipe.tolerances import find_tolerance, tolerances

APART = 3.0
"""By how many times a broken weight's error exceeds the model's own, to be told from it."""


def find_telling(
    tried: Sequence[Mapping[str, Any]],
    shapes: Sequence[Mapping[str, Any]],
    precision: Precision,
    verify: Verify,
) -> float | None:
    """Give a tolerance of ``scaled`` that the model meets and a broken weight does not; None where there is none.

    Only where the tolerance is a default: that of integers has room for any architecture, more than the
    weights of some can spoil, as where a network adds a little to what it is given. What a recipe asks for
    itself must be able to fail. `shapes` are the errors of the model itself.
    """
    least = tolerances("fp32").scaled or 0.0
    for item in tried:
        for name, broken in item["outputs"].items():
            errors = [shape["outputs"].get(name, {}).get("scaled") for shape in shapes]
            known = [error for error in errors if error is not None]
            spoiled = broken.get("scaled")
            if not known or spoiled is None or find_tolerance(verify, name, precision)[1]:
                continue
            own = max(known)
            if spoiled > max(APART * own, least):
                return math.sqrt(max(own, least) * spoiled)
    return None
