"""The tables that a build ends with."""

from __future__ import annotations

import os
from collections.abc import Sequence

from onnxbuild.cli import console
from onnxbuild.cli.wrapping import break_columns
from onnxbuild.core.quantities import show_size
from onnxbuild.report.exceptions import tell_curve
from onnxbuild.report.result import BuildResult, RecipeResult, Repeated, StepResult, VariantResult


def summarize(result: BuildResult) -> str:
    """Write the tables of a build: each recipe's variants, the steps, and one line that counts them."""
    parts = []
    for recipe in result.recipes.values():
        parts.append(_recipe(recipe))
        rules = next((item.rules for item in recipe.variants.values() if item.rules), "")
        if rules:
            parts.append(f"  rules fired: {rules}")
        exceptions = [item for item in recipe.variants.values() if item.exceptions]
        if exceptions:
            parts.append("\n".join(f"  {item.variant}: {item.exceptions}" for item in exceptions))
        searched = [item for item in recipe.variants.values() if item.curve]
        if searched:
            parts.append(
                "\n".join(f"  {item.variant} {tell_curve(item.curve)}" for item in searched)
            )
        refused = [
            item for item in recipe.variants.values() if item.findings and not item.published
        ]
        parts += [_gates(refused)] if refused else []
    parts.append(_steps(result))
    parts.append(_count(result))
    if result.repeated is not None:
        parts.append(_repeated(result.repeated))
    return "\n\n".join(parts)


def _recipe(recipe: RecipeResult) -> str:
    variants = list(recipe.variants.values())
    header = ["variant", "size", "ops", "worst error", "cosine"]
    with_metric = any(item.fidelity.metric for item in variants)
    if with_metric:
        names = {item.metric_name for item in variants if item.metric_name}
        header.append(f"{names.pop() if len(names) == 1 else 'metric'} (PyTorch)")
    rows = [_variant(item, with_metric=with_metric) for item in variants]
    # The path last: it may be long, and a narrow terminal breaks the line there.
    return f"{recipe.name}\n" + console.table([*header, "model"], rows, right=range(1, len(header)))


def _variant(item: VariantResult, *, with_metric: bool) -> list[str]:
    fidelity = item.fidelity
    row = [
        item.variant,
        show_size(item.bytes) if item.published else "",
        str(item.operators) if item.operators else "",
        "" if fidelity.max_abs is None else f"{fidelity.max_abs:.1e}",
        "" if fidelity.cosine is None else f"{fidelity.cosine:.6f}",
    ]
    if with_metric:
        row.append(_metric(item))
    row.append(os.path.relpath(item.path) if item.published else "not published")
    return row


def _gates(variants: Sequence[VariantResult]) -> str:
    """Write what was measured of variants that are not published against what was asked."""
    rows = [
        [
            item.variant,
            f"{finding.what} of {finding.where}" if finding.where else finding.what,
            finding.measured,
            finding.asked,
            "ok" if finding.passed else "missed",
        ]
        for item in variants
        for finding in item.findings
        if finding.level == "gate"
    ]
    header = ["not published", "what", "measured", "asked", ""]
    return console.table(header, break_columns(header, rows, (1, 2, 3)))


def _metric(item: VariantResult) -> str:
    if not item.fidelity.metric:
        return ""
    theirs = item.reference_metric or {}
    return ", ".join(
        f"{value:.4f} ({theirs[name]:.4f})" if name in theirs else f"{value:.4f}"
        for name, value in item.fidelity.metric.items()
    )


def _steps(result: BuildResult) -> str:
    several = len(result.recipes) > 1
    rows = [_step(step, several=several) for step in result.steps]
    header = ["step", "state", "seconds", "why"]
    return console.table(header, break_columns(header, rows, (0, 3)), right=(2,))


def _step(step: StepResult, *, several: bool) -> list[str]:
    label = f"{step.recipe}: {step.label}" if several else step.label
    seconds = "" if step.status in {"failed", "skipped"} else f"{step.seconds:.2f}"
    return [label, step.status, seconds, step.reason]


def _count(result: BuildResult) -> str:
    counts: dict[str, int] = {}
    for step in result.steps:
        counts[step.status] = counts.get(step.status, 0) + 1
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    variants = [item for recipe in result.recipes.values() for item in recipe.variants.values()]
    published = sum(item.published for item in variants)
    took = f" in {result.seconds:.1f} s" if set(counts) != {"cached"} else ""
    return f"{published} of {len(variants)} variants up to date; {len(result.steps)} steps: {told}{took}"


def _repeated(repeated: Repeated) -> str:
    """Say how many steps gave the same twice, how many did not, and why others were not compared."""
    told = [f"{repeated.same} steps gave the same twice"]
    if repeated.differing:
        told.append(f"{len(repeated.differing)} did not")
    reasons: dict[str, int] = {}
    for item in repeated.uncompared:
        reasons[item.why] = reasons.get(item.why, 0) + 1
    told += [f"{count} not compared, since {why}" for why, count in reasons.items()]
    return "; ".join(told)
