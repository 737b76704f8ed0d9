"""Where a variant that missed a gate goes astray, found out by a step of its own and told with the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from onnxbuild.core.step import Output
from onnxbuild.planner import Variant
from onnxbuild.report.finding import Finding, Json, number
from onnxbuild.steps.verify.spec import locate

SHARE = 0.5
"""A node counts as the first that is far off when its error is this share of the outputs'."""


def find_first_bad(
    variant: Variant,
    missed: Sequence[Finding],
    fidelity: Json,
    read: Callable[[Output], Json | None],
) -> list[Finding]:
    """Give the missed gates, those of numbers with the first node that is about as far off as the outputs.

    `read` builds an output and reads it. Nothing is looked for where the exported model itself is the variant:
    PyTorch has no nodes of these names; nor where outputs are not finite, of which `verify` names the node.
    """
    shapes = [shape for shape in fidelity.get("shapes", ()) if _error(shape) is not None]
    if (
        variant.model.step is variant.exported.step
        or not shapes
        or len(shapes) < len(fidelity["shapes"])
    ):
        return list(missed)
    if not any(item.numbers for item in missed):
        return list(missed)
    worst = max(shapes, key=lambda shape: _error(shape) or 0.0)
    errors = read(
        locate(variant.name, variant.model, variant.exported, variant.fidelity, worst["name"])
    )
    limit = SHARE * (_error(worst) or 0.0)
    first = next(
        (node for node in (errors or {}).get("nodes", ()) if node["scaled"] >= limit), None
    )
    if first is None or limit == 0:
        return list(missed)
    told = (
        f"the first node that is far from the exported model's is {first['node']!r} ({first['operator']}),"
        f" by {number(first['scaled'])} of its largest value"
    )
    return [
        replace(item, hint=f"{told}; {item.hint}".removesuffix("; ")) if item.numbers else item
        for item in missed
    ]


def _error(shape: Json) -> float | None:
    """Give the worst scaled error of a shape's outputs; None where there is one that has none."""
    errors = [output.get("scaled") for output in shape["outputs"].values()]
    return None if None in errors or not errors else max(errors)
