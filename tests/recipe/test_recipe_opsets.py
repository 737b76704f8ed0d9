"""The opset that a recipe gets."""

from __future__ import annotations

import pytest

from onnxbuild.recipe.opsets import find_ir, find_opset, opset_mistakes
from onnxbuild.recipe.schema import Export, TargetRuntime


@pytest.mark.parametrize(
    ("exporter", "release", "opset", "ir"),
    [
        ("auto", "1.16", 19, 9),
        ("auto", "1.16.3", 19, 9),
        ("auto", "1.99", 25, 14),
        ("torchscript", "1.24", 23, 13),
        ("torchscript", "1.12", 17, 8),
    ],
)
def test_auto_is_the_highest_that_the_target_runs(exporter, release, opset, ir):
    """And that the exporter writes."""
    export, target = Export(opset="auto", exporter=exporter), TargetRuntime(onnxruntime=release)

    assert find_opset(export, target) == opset
    assert find_ir(target) == ir
    assert (
        list(opset_mistakes({"opset": "auto", "exporter": exporter}, {"onnxruntime": release}))
        == []
    )


def test_without_a_target_what_is_asked_is_given():
    """Auto goes by the onnxruntime that is installed, and nothing bounds the IR version."""
    assert find_opset(Export(), TargetRuntime()) is None
    assert find_opset(Export(opset=13), TargetRuntime()) == 13
    assert 18 <= find_opset(Export(opset="auto"), TargetRuntime()) <= 25
    assert find_ir(TargetRuntime()) is None


def test_a_target_below_the_default_is_told_so():
    """Who names an old runtime and no opset would get a model that it does not run."""
    ((path, what, hint),) = opset_mistakes({}, {"onnxruntime": "1.12"})

    assert path == ("target", "onnxruntime")
    assert "runs opsets up to 17, not 18" in what
    assert "opset: auto" in hint
