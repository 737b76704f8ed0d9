"""A metric of the user's against what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator

from onnxbuild.recipe.schema import Verify
from onnxbuild.report.finding import Finding, Json, number

SLACK = 1e-9
"""Differences of decimal fractions: 0.93 - 0.92 is more than 0.01."""
ONE = "metric"
"""What `onnxbuild.steps.evaluate` calls a metric that is a single number."""


def judge_metric(verify: Verify, metric: Json | None, reference: Json | None) -> Iterator[Finding]:
    """Judge a metric by its own bound and by PyTorch's value of it."""
    if verify.at_least is None and verify.max_drop is None:
        return
    sign = 1 if verify.goal == "max" else -1
    if not metric:
        yield Finding(what="metric", asked="a value", measured="missing", passed=False)
        return
    function = (verify.metric or "").rpartition(":")[2]
    for name, value in metric.items():
        # A single number has no name of its own.
        called = function or name if set(metric) == {ONE} else name
        if verify.at_least is not None:
            yield Finding(
                what=called,
                numbers=True,
                asked=f"at {'least' if sign > 0 else 'most'} {number(verify.at_least)}",
                measured=number(value),
                passed=sign * (value - verify.at_least) >= -SLACK,
            )
        if verify.max_drop is not None:
            known = (reference or {}).get(name)
            yield Finding(
                what=called,
                numbers=True,
                asked=f"at most {number(verify.max_drop)} worse than PyTorch's {number(known)}",
                measured=number(value),
                passed=known is not None and sign * (known - value) <= verify.max_drop + SLACK,
                hint="" if known is not None else "PyTorch's outputs gave no metric of that name",
            )
    for name in reference or ():
        if name not in metric:
            yield Finding(
                what=name,
                asked="a value, as of PyTorch's outputs",
                measured="missing",
                passed=False,
            )
