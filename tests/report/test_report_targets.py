"""What is published must run on what the recipe names."""

from __future__ import annotations

from onnxbuild.recipe.schema import TargetRuntime
from onnxbuild.report.targets import judge_target


def test_a_model_that_the_target_does_not_run_misses_a_gate():
    """Its opset, and its IR version, which a stage may have raised; without a target nothing is asked."""
    model = {"opset": 19, "ir_version": 10}

    findings = {item.what: item for item in judge_target(TargetRuntime(onnxruntime="1.16"), model)}

    assert findings["opset for onnxruntime 1.16"].passed
    ir = findings["IR version for onnxruntime 1.16"]
    assert (ir.passed, ir.level, ir.measured) == (False, "gate", "10")
    assert list(judge_target(TargetRuntime(), model)) == []
