"""What a variant's precision leaves out: weights that stayed as they were, and what a search for the fewest tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxbuild.core.quantities import show_size

SHOWN = 3
"""Weights named in one line; build.json has them all."""

COUNTED = {"quantized_weights": "float_weights", "float16_weights": "float32_weights"}
"""Notes of the stages: how many weights were converted, and which were not, each with why."""


def converts(notes: Mapping[str, Any]) -> bool:
    """Tell whether a step has converted weights: it then knows of all that were left."""
    return any(name in notes for name in COUNTED)


def tell_exceptions(notes: Mapping[str, Any]) -> str:
    """Say which weights a stage left as they were; empty where it left none, or converts none."""
    for converted, left_out in COUNTED.items():
        kept: Mapping[str, Any] = notes.get(left_out) or {}
        if not kept:
            continue
        reasons = notes.get("kept_float32") or {}
        named = [f"{name} ({_why(why, reasons)})" for name, why in list(kept.items())[:SHOWN]]
        more = f", and {len(kept) - SHOWN} more" if len(kept) > SHOWN else ""
        total = notes[converted] + len(kept)
        stay = "stays" if len(kept) == 1 else "stay"
        return f"{len(kept)} of {total} weights {stay} float32: {', '.join(named)}{more}"
    return ""


def tell_curve(curve: Sequence[Mapping[str, Any]]) -> str:
    """Say in a line what each attempt of a search gave, with the fewest nodes left out first."""
    told = "; ".join(
        f"{point['left_out']} left out: {show_size(point['bytes'])}, cosine {point['cosine']:.4f}"
        f" (scaled {point['scaled']:.2g}), {point['seconds'] * 1000:.3g} ms{'' if point['met'] else ', missed'}"
        for point in curve
    )
    return f"searched: {told}" if told else ""


def _why(why: Any, reasons: Mapping[str, str]) -> str:
    """Give the reason of a weight: its own, or that of the first node it is used by."""
    if isinstance(why, str):
        return why
    return next((reasons[node] for node in why if node in reasons), "used by " + ", ".join(why))
