"""Compare what was measured with what is asked. Pure: measurements are cached, gates are not."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.recipe.schema import Tolerance, Verify
from onnxbuild.recipe.stage import Precision
from onnxbuild.recipe.tolerances import ATOL, EXACT, RTOL, find_tolerance, tolerances
from onnxbuild.report.channels import asks_channels, judge_channels
from onnxbuild.report.choices import judge_choices
from onnxbuild.report.decisions import judge_decisions
from onnxbuild.report.finding import Finding, Json, number, place
from onnxbuild.report.metrics import judge_metric
from onnxbuild.report.proof import find_telling
from onnxbuild.report.sources import judge_worth
from onnxbuild.report.tokens import judge_tokens
from onnxbuild.report.tolerances import TRUE_HALF, find_channel_limit, own_precision

__all__ = ["Finding", "fidelity_summary", "judge", "tolerances"]

HALF_LIMIT = 65504
"""The largest number that half precision holds."""


def judge(
    *,
    variant: str,
    precision: Precision,
    verify: Verify,
    fidelity: Json,
    metric: Json | None,
    reference_metric: Json | None,
    size: int,
    export_size: int,
    source_size: int | None = None,
    latency: Json | None,
    export: Json,
    tokens: Json | None = None,
    reference_tokens: Json | None = None,
) -> tuple[Finding, ...]:
    """Give all findings on a variant, passed ones too: gates first, then warnings.

    `export` are the notes of the export that it came from; `source_size` the bytes of the model that its stage
    started from, where that is another than the exported one.
    """
    precision = own_precision(variant, precision, fidelity)
    findings = [
        *_judge_comparison(variant, precision, verify, fidelity),
        *judge_metric(verify, metric, reference_metric),
        *judge_tokens(verify, tokens, reference_tokens),
        *judge_worth(variant, verify, size, export_size, source_size, latency),
        *judge_decisions(export),
    ]
    return tuple(sorted(findings, key=lambda finding: finding.level != "gate"))


def fidelity_summary(fidelity: Json) -> dict[str, float | None]:
    """Give the worst errors over outputs and shapes; None where nothing, or not all, could be compared.

    Of outputs that hold floating numbers; of all where none does.
    """
    outputs = list(fidelity.get("outputs", {}).values())
    outputs = [item for item in outputs if "mismatched" not in item] or outputs
    summary: dict[str, float | None] = {}
    for key, worst in (("max_abs", max), ("max_rel", max), ("scaled", max), ("cosine", min)):
        values = [item[key] for item in outputs]
        summary[key] = worst(values) if values and None not in values else None
    return summary


def _judge_comparison(
    variant: str, precision: Precision, verify: Verify, fidelity: Json
) -> Iterator[Finding]:
    if "weightless" in fidelity:
        yield Finding(
            what="comparison",
            asked="",
            measured="not possible: the recipe keeps the weights out of the file",
            # The export itself was compared while it had them.
            passed=variant == "export",
            level="warning",
        )
        return
    yield from _judge_outputs(precision, verify, fidelity)
    yield from _judge_half(fidelity.get("half"), "example")
    at_most = fidelity.get("half_at_most") or {}
    yield from _judge_half(at_most, at_most.get("sample", ""))
    yield from judge_choices(
        fidelity.get("others"), find_tolerance(verify, "", precision)[0].scaled
    )
    yield from _judge_proof(precision, verify, fidelity)


def _judge_outputs(precision: Precision, verify: Verify, fidelity: Json) -> Iterator[Finding]:
    for name in verify.outputs:
        if name not in fidelity["outputs"]:
            yield Finding(
                what=f"the output {name!r}, for which `verify` gives a tolerance,",
                asked=f"one of {', '.join(fidelity['outputs'])}",
                measured="none of the model's",
                passed=False,
                hint="write its name as it is, or declare `outputs:`, against which names are checked early",
            )
    for name in fidelity["outputs"]:
        shapes = [(_label(shape), shape["outputs"][name]) for shape in fidelity["shapes"]]
        broken = [*_find_broken(name, shapes, fidelity)]
        if broken:
            yield broken[0]
            continue
        unknown = next((label for label, item in shapes if not item["reference_finite"]), None)
        if unknown is not None:
            yield Finding(
                what="PyTorch's output",
                asked="finite numbers",
                measured="NaN or infinite in part, where nothing can be compared",
                where=place(name, unknown),
                passed=False,
                hint="look at the inputs' `range` and `values`",
                level="warning",
            )
        tolerance, asked = find_tolerance(verify, name, precision)
        if "mismatched" in shapes[0][1] and not asked:
            yield _judge_exact(name, shapes, EXACT[precision])
        else:
            yield from _judge_tolerance(name, shapes, tolerance)
        limit = find_channel_limit(tolerance, asked, precision)
        yield from judge_channels(
            name, fidelity["outputs"][name], limit, asked=asks_channels(verify, name, shapes[0][1])
        )


def _find_broken(output: str, shapes: list[tuple[str, Json]], fidelity: Json) -> Iterator[Finding]:
    """Give what makes a comparison meaningless: another shape, or numbers that are none."""
    for name, item in shapes:
        if item.get("problem"):
            yield Finding(
                what="output",
                asked="the shape and type that PyTorch gives",
                measured=f"of another form: {item['problem']}",
                where=place(output, name),
                passed=False,
                hint="look at `dynamic_axes` and at the last stage's options",
            )
    for name, item in shapes:
        if item["finite"]:
            continue
        bad = fidelity.get("bad_node") or {}
        hint = "PyTorch's own output is not finite there" if not item["reference_finite"] else ""
        if not hint and "node" in bad:
            hint = f"the first such node is {bad['node']!r} ({bad['operator']}): keep it in float32"
        yield Finding(
            what="output",
            asked="finite numbers",
            measured="NaN or infinite",
            where=place(output, name),
            passed=False,
            hint=hint,
        )


def _judge_exact(output: str, shapes: list[tuple[str, Json]], most: float) -> Finding:
    name, item = max(shapes, key=lambda shape: float(shape[1]["mismatched"]))
    return Finding(
        what="share of values that differ",
        numbers=True,
        asked=f"at most {number(most)}",
        measured=number(item["mismatched"]),
        where=place(output, name),
        passed=item["mismatched"] <= most,
        hint=f"give `outputs: {{{output}: {{atol: …}}}}` under `verify` if that is acceptable",
    )


def _judge_tolerance(
    output: str, shapes: list[tuple[str, Json]], tolerance: Tolerance
) -> Iterator[Finding]:
    """Judge an output at its worst shape, once for each number that is asked."""
    hint = "leave out what loses most (node or operator lists), or allow more under `verify`"
    if tolerance.rtol is not None or tolerance.atol is not None:
        rtol = RTOL if tolerance.rtol is None else tolerance.rtol
        atol = ATOL if tolerance.atol is None else tolerance.atol
        name, (excess, size, error) = max(
            ((name, _excess(item, rtol, atol)) for name, item in shapes), key=lambda shape: shape[1]
        )
        yield Finding(
            what="absolute error",
            numbers=True,
            asked=f"at most {number(atol)} + {number(rtol)} x |PyTorch's value|",
            measured=f"{number(error)} where PyTorch's value is {number(size)} in size",
            where=place(output, name),
            passed=excess <= 0,
            hint=hint,
        )
    if tolerance.scaled is not None:
        name, item = max(shapes, key=lambda shape: _or(shape[1]["scaled"], float("inf")))
        yield Finding(
            what="scaled error",
            numbers=True,
            asked=f"at most {number(tolerance.scaled)}",
            measured=number(item["scaled"]),
            where=place(output, name),
            passed=item["scaled"] is not None and item["scaled"] <= tolerance.scaled,
            hint=hint,
        )
    if tolerance.cosine is not None:
        name, item = min(shapes, key=lambda shape: _or(shape[1]["cosine"], -2.0))
        yield Finding(
            what="cosine",
            numbers=True,
            asked=f"at least {number(tolerance.cosine)}",
            measured=number(item["cosine"]),
            where=place(output, name),
            passed=item["cosine"] is not None and item["cosine"] >= tolerance.cosine,
            hint=hint,
        )


def _excess(item: Json, rtol: float, atol: float) -> tuple[float, float, float]:
    """Give by how much the worst element exceeds its tolerance, its reference's size and its error."""
    points = [(error - (atol + rtol * size), size, error) for size, error in item["hull"]]
    return max(points, default=(float("-inf"), 0.0, 0.0))


def _judge_half(half: Json | None, sample: str) -> Iterator[Finding]:
    half = half or {}
    results = half.get("true_half") or half.get("rounded") or {}
    if half and not results:
        yield Finding(
            what=f"what an accelerator would compute in half precision at {sample}",
            asked="a comparison",
            measured=f"not known: {half.get('skipped', 'it has no outputs to compare')}",
            passed=False,
            level="warning",
        )
    fails = []
    for name, item in results.items():
        broken = [*_find_broken(name, [(sample, item)], {})]
        fails += broken or [
            finding
            for finding in _judge_tolerance(name, [(sample, item)], TRUE_HALF)
            if not finding.passed
        ]
    overflow = half.get("overflow")
    hint = "keep more in float32: `node_block_list` or `op_block_list` of the stage"
    if overflow:
        hint = f"`node_block_list: [{overflow['node']}]` keeps it in float32"
        yield Finding(
            what=f"result of node {overflow['node']!r} ({overflow['operator']}) at {sample}",
            asked=f"at most {HALF_LIMIT} in size, the largest number in half precision",
            measured="larger, which becomes infinite where half is really computed",
            passed=False,
            hint=hint,
            # What overflows and is cut off again later does no harm, where that was tried.
            level="warning" if results and not fails else "gate",
        )
    for finding in fails:
        yield Finding(
            what=f"in true half precision the {finding.what}",
            numbers=True,
            asked=finding.asked,
            measured=finding.measured,
            where=finding.where,
            passed=False,
            hint=hint,
        )


def _judge_proof(precision: Precision, verify: Verify, fidelity: Json) -> Iterator[Finding]:
    """Judge whether the comparison proves anything: it must fail for a broken weight."""
    for name in fidelity.get("constant", ()):
        yield Finding(
            what="output",
            asked="values that depend on the inputs",
            measured="the same for every sample",
            where=f"`{name}`",
            passed=False,
            hint="look at the inputs' `range` and `values`: with these the comparison says little",
            level="warning",
        )
    perturbed = fidelity.get("perturbed", {})
    tried = [item for item in perturbed.get("tried", ()) if "outputs" in item]
    if not tried:
        failed = [f"{item['weight']}: {item['failed']}" for item in perturbed.get("tried", ())]
        yield Finding(
            what="comparison with a weight broken on purpose",
            asked="a missed tolerance",
            measured=f"not possible: {'; '.join(failed) or perturbed.get('none', 'not tried')}",
            passed=False,
            level="warning",
        )
        return
    caught = next((item for item in tried if _fails(item, precision, verify)), None)
    telling = None if caught else find_telling(tried, fidelity["shapes"], precision, verify)
    if caught:
        measured = f"missed with {caught['weight']}"
    elif telling:
        measured = f"missed with {telling.weight}, `{telling.output}` held to a scaled error of {number(telling.scaled)}"
    else:
        measured = f"passed, with each of {', '.join(item['weight'] for item in tried)}"
    yield Finding(
        what="comparison with a weight broken on purpose",
        asked="a missed tolerance",
        measured=measured,
        passed=bool(caught or telling),
        hint=""
        if caught or telling
        else "the comparison cannot fail and proves nothing: ask for closer tolerances, or give inputs that"
        " the output depends on",
    )


def _fails(tried: Json, precision: Precision, verify: Verify) -> bool:
    outputs: Json = tried["outputs"]
    one = {"name": "example", "outputs": outputs}
    findings = _judge_outputs(precision, verify, {"outputs": outputs, "shapes": [one]})
    return any(not finding.passed and finding.level == "gate" for finding in findings)


def _label(shape: Json) -> str:
    """Call a shape by its name, and by its sizes where the name does not say them."""
    sizes = ", ".join(f"{dim}={size}" for dim, size in shape.get("sizes", {}).items())
    return f"{shape['name']} ({sizes})" if sizes and "=" not in shape["name"] else shape["name"]


def _or(value: float | None, instead: float) -> float:
    return instead if value is None else value
