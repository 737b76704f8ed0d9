"""How far channels, integers and what is computed in true half may be off, where the recipe does not say.

The tolerances of outputs are in `onnxbuild.recipe.tolerances`.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxbuild.recipe.schema import Tolerance
from onnxbuild.recipe.stage import Precision
from onnxbuild.report.finding import Json

CHANNEL: dict[Precision, float] = {"fp32": 0.1, "fp16": 0.1, "bf16": 0.5, "int8": 0.9}
"""How far a channel may be, by its own largest value. A gate for fp32, which is the same numbers in another
order; else a warning, since a lost channel of small values may be what the precision costs. 0.9: it is as
wrong as if it were left out."""

CHANNEL_VALUES: dict[Precision, int] = {"fp32": 2, "fp16": 4, "bf16": 8, "int8": 8}
"""Values that a channel must have had at the least, where the recipe does not ask: the coarser the precision, the
likelier that all of a few are, by chance, as small as its errors."""

WIDER = 10
"""By how much a channel may be further off than the output as a whole, where the recipe allows an output more
than `CHANNEL` expects."""

TRUE_HALF = Tolerance(scaled=0.1, cosine=0.99)
"""How far true half precision may be from onnxruntime's. Wider than the precision's own: the reference
implementation rounds after every addition, which no accelerator does."""


HALVES: dict[str, Precision] = {"bfloat16": "bf16", "float16": "fp16"}
"""The precisions of models that PyTorch itself computes in half."""


def own_precision(variant: str, precision: Precision, fidelity: Json) -> Precision:
    """Give the precision that the numbers can have: a model that PyTorch computes in half has no more than that."""
    if precision != "fp32":
        return precision
    dtypes = {item.get("reference_dtype") for item in fidelity.get("outputs", {}).values()}
    if variant == "export":
        dtypes.add(fidelity.get("model", {}).get("half"))
    return next((HALVES[name] for name in ("bfloat16", "float16") if name in dtypes), precision)


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
