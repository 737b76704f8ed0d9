"""Whether a comparison that a broken weight has passed tells it from the model all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxbuild.recipe.schema import Verify
from onnxbuild.recipe.stage import Precision
from onnxbuild.recipe.tolerances import find_tolerance

APART = 3.0
"""By how many times a broken weight's error exceeds the model's own, to be told from it."""

NOISE = 1e-5
"""A scaled error that sums in another order may make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A closer tolerance, which a broken weight misses and the model meets."""

    weight: str
    output: str
    scaled: float


def find_telling(
    tried: Sequence[Mapping[str, Any]],
    shapes: Sequence[Mapping[str, Any]],
    precision: Precision,
    verify: Verify,
) -> Telling | None:
    """Hold an output to a share of the error that a broken weight makes; None where the model misses that too.

    Only where the tolerance is a default: that of integers has room for any architecture, more than the
    weights of some can spoil, as where a network adds a little to what it is given. What a recipe asks for
    itself must be able to fail. `shapes` are the errors of the model itself, which have no say in the tolerance.
    """
    found = []
    for item in tried:
        for name, broken in item["outputs"].items():
            errors = [shape["outputs"].get(name, {}).get("scaled") for shape in shapes]
            spoiled = broken.get("scaled")
            if not errors or None in errors or spoiled is None or spoiled <= NOISE:
                continue
            held = Telling(weight=item["weight"], output=name, scaled=spoiled / APART)
            if max(errors) <= held.scaled and not find_tolerance(verify, name, precision)[1]:
                found.append(held)
    return max(found, key=lambda held: held.scaled, default=None)
