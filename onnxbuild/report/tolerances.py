"""How far an output may be from PyTorch's, for each precision, where the recipe does not say.

Always the error and the angle together: a model ten times too small has a cosine of 1, and one that
gives noise around a large constant has a small scaled error. Chosen to let right conversions through on
any architecture and to stop wrong ones (seen: cosines of 0.9 and less); a recipe asks for what its use needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxbuild.recipe.schema import Tolerance, Verify
from onnxbuild.recipe.stage import Precision

DEFAULTS: dict[Precision, Tolerance] = {
    "fp32": Tolerance(scaled=0.001, cosine=0.9999),
    "fp16": Tolerance(scaled=0.01, cosine=0.999),
    "int8": Tolerance(scaled=0.3, cosine=0.95),
}

CHANNEL: dict[Precision, float] = {"fp32": 0.1, "fp16": 0.1, "int8": 0.9}
"""How far a channel may be, by its own largest value. A gate for fp32, which is the same numbers in another
order; else a warning, since a lost channel of small values may be what the precision costs. 0.9: it is as
wrong as if it were left out."""

CHANNEL_VALUES: dict[Precision, int] = {"fp32": 2, "fp16": 4, "int8": 8}
"""Values that a channel must have had at the least, where the recipe does not ask: the coarser the precision, the
likelier that all of a few are, by chance, as small as its errors."""

WIDER = 10
"""By how much a channel may be further off than the output as a whole, where the recipe allows an output more
than `CHANNEL` expects."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLimit:
    """How far a channel of an output may be off, by its own largest value."""

    most: float
    gate: bool
    values: int = 1
    """A channel with fewer values is not judged."""


def find_channel_limit(tolerance: Tolerance, asked: bool, precision: Precision) -> ChannelLimit:
    """Give the limit for an output whose `tolerance` was found, and was `asked` for by the recipe or not."""
    if tolerance.scaled_per_channel is not None:
        return ChannelLimit(most=tolerance.scaled_per_channel, gate=True)
    usual, values = CHANNEL[precision], CHANNEL_VALUES[precision]
    if not asked:
        return ChannelLimit(most=usual, gate=precision == "fp32", values=values)
    # The recipe says how far it may be, and nothing of channels: no gate that it did not ask for.
    allowed = tolerance.scaled if tolerance.scaled is not None else tolerance.rtol
    most = max(usual, min(WIDER * (allowed or 0.0), CHANNEL["int8"]))
    return ChannelLimit(most=most, gate=False, values=values)
