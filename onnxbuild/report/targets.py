"""What is published, held against what it is to run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onnxbuild.recipe.releases import runtime_of
from onnxbuild.recipe.schema import TargetRuntime
from onnxbuild.report.finding import Finding


def judge_target(target: TargetRuntime, model: Mapping[str, Any]) -> Iterator[Finding]:
    """Say whether a model's opset and IR version are such that the target runs it."""
    runtime = None if target.onnxruntime is None else runtime_of(target.onnxruntime)
    if runtime is None:
        return
    for key, words, most in (
        ("opset", "opset", runtime.opset),
        ("ir_version", "IR version", runtime.ir),
    ):
        found = model.get(key)
        if found is not None:
            yield Finding(
                what=f"{words} for onnxruntime {target.onnxruntime}",
                asked=f"at most {most}",
                measured=f"{found}",
                passed=found <= most,
                hint=f"say `export: {{{key}: {most}}}`; a stage that raises it cannot be used for this target",
                level="gate",
            )
