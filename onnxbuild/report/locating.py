"""Where a variant that missed a gate goes astray, found out by a step of its own and told with the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from onnxbuild.core.step import Output
from onnxbuild.planner import Variant
from onnxbuild.report.cures import find_cure, searches
from onnxbuild.report.finding import Finding, Json, number
from onnxbuild.steps.verify.spec import locate, locate_modules

SHARE = 0.25
"""A result is far off when its error is this share of the outputs'."""

SHOWN = 3
"""Nodes that are named."""

JUMP = 3.0
"""It departs there when its error is so many times what came in."""


def find_first_bad(
    variant: Variant,
    missed: Sequence[Finding],
    fidelity: Json,
    read: Callable[[Output], Json | None],
) -> list[Finding]:
    """Give the missed gates, those of numbers with the first result that departs, and what would cure it.

    `read` builds an output and reads it. A variant is held against the exported model; the exported model itself
    against the modules of PyTorch's. Nothing is looked for where outputs are not finite: of that `verify` names
    the node.
    """
    shapes = [shape for shape in fidelity.get("shapes", ()) if _error(shape) is not None]
    if not shapes or len(shapes) < len(fidelity["shapes"]):
        return list(missed)
    if not any(item.numbers for item in missed):
        return list(missed)
    worst = max(shapes, key=lambda shape: _error(shape) or 0.0)
    if variant.model.step is variant.exported.step:
        told = _find_module(variant, worst["name"], read)
    else:
        told = _find_node(variant, worst["name"], _error(worst) or 0.0, read)
    if not told:
        return list(missed)
    return [
        replace(item, hint=f"{told}; {item.hint}".removesuffix("; ")) if item.numbers else item
        for item in missed
    ]


def find_departure(nodes: Sequence[Json], end: float) -> Json | None:
    """Give the first result whose error jumps, against what came in, to a share of the error at the `end`.

    Where none jumps, the one that adds most.
    """
    limit = SHARE * end
    far = [node for node in nodes if node["scaled"] >= limit > 0]
    jumps = (node for node in far if node["scaled"] >= JUMP * node["came_in"])
    return next(jumps, max(far, key=_added, default=None))


def _find_node(
    variant: Variant, sample: str, least: float, read: Callable[[Output], Json | None]
) -> str:
    errors = read(locate(variant.name, variant.model, variant.exported, variant.fidelity, sample))
    found = errors or {}
    turned = _tell_choices(found.get("choices"), least, variant)
    if turned:
        return turned
    node = find_departure(found.get("nodes", ()), found.get("end", 0.0))
    # Where the error does not show when all results are looked at, nothing can be said of where it begins.
    if node is None or found["end"] < SHARE * least:
        return ""
    where = _module(node["node"])
    cure = find_cure(variant.stage, [*node.get("of", ()), node["node"]])
    return (
        f"it departs from the exported model at {node['node']!r} ({node['operator']}){where}:"
        f" {_off(node)}; the exported model's values there are from {number(node['low'])} to {number(node['high'])}"
        + (f"; what may cure it: {cure}" if cure else "")
    )


def _tell_choices(choices: Json | None, error: float, variant: Variant) -> str:
    """Say which choices turn over, where that is what the `error` comes from."""
    same = (choices or {}).get("same")
    if choices is None or same is None or same["scaled"] > SHARE * error:
        return ""
    told = [
        f"{node['differ']} of {node['of']} at {node['node']!r} ({node['operator']}{_module(node['node'])})"
        for node in choices["nodes"]
    ]
    more = f" and {len(told) - SHOWN} more nodes" if len(told) > SHOWN else ""
    search = next((f"`mode: {mode}`, which tries to keep" for mode in searches(variant.stage)), "")
    cures = [f"{search} those of the samples"] if search else []
    cures += ["a `metric` under `verify`, or allow more there"]
    return (
        f"choices by close scores turn over, {', '.join(told[:SHOWN])}{more}: with the exported model's choices the"
        f" error would be {number(same['scaled'])} (cosine {number(same['cosine'])}). What comes in is rounded before,"
        f" so that no node alone cures it for all inputs; what may help: {', '.join(cures)}"
    )


def _module(name: str) -> str:
    module = name.rpartition("/")[0]
    return f" in the module {module}" if module else ""


def _find_module(variant: Variant, sample: str, read: Callable[[Output], Json | None]) -> str:
    output = locate_modules(variant.exported, variant.fidelity, sample)
    found = (read(output) if output is not None else None) or {}
    module = find_departure(found.get("nodes", ()), found.get("end", 0.0))
    if module is None:
        return ""
    return (
        f"the graph departs from PyTorch in the module {module['node']} ({module['operator']}): {_off(module)};"
        f" PyTorch's values there are from {number(module['low'])} to {number(module['high'])}; what may cure it:"
        " another `export.exporter` or `export.opset`, or a rule under `replace` for that module"
    )


def _off(node: Json) -> str:
    off = "not finite" if node["scaled"] >= ENDLESS else f"off by {number(node['scaled'])}"
    return f"{off} of its largest value, where {number(node['came_in'])} came in"


ENDLESS = 1e30
"""The error of what is not finite, as `onnxbuild.steps.verify.locate` has it."""


def _added(node: Json) -> float:
    return float(node["scaled"] - node["came_in"])


def _error(shape: Json) -> float | None:
    """Give the worst scaled error of a shape's outputs; None where there is one that has none."""
    errors = [output.get("scaled") for output in shape["outputs"].values()]
    return None if None in errors or not errors else max(errors)
