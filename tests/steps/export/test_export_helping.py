"""Module rules that step in where an export fails without them."""

from __future__ import annotations

import pytest

from onnxbuild.errors import ExportError

pytestmark = pytest.mark.e2e

POOLED = """
    import torch
    from torch import nn

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.pool = nn.AdaptiveAvgPool2d((3, 2))
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            return self.head(self.pool(x).flatten(1))
"""
X = {"x": {"shape": ["batch", 2, "height", "width"]}}
SIZES = {
    "batch": {"min": 1, "max": 3},
    "height": {"min": 5, "max": 12, "trace": 6},
    "width": {"min": 5, "max": 12, "trace": 7},
}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_pooling_to_a_grid_holds_at_every_size_without_being_asked(bench, exporter):
    """Both exporters fail at it; the rule steps in, and the notes say which, where and why."""
    bench.write("net.py", POOLED)

    result = bench.export("net.py:Pooled", X, dims=SIZES, exporter=exporter)

    assert result.worst() < 1e-5
    (rule,) = result.notes["rules"]
    assert (rule["rule"], rule["count"]) == ("adaptive_pool", 1)
    assert rule["why"].startswith(f"{exporter}: ")


def test_a_failure_that_no_rule_is_for_stays_what_it_was(bench):
    """Where nothing is found to help with, nothing is tried again and the first message is told."""
    bench.write(
        "net.py",
        """
        import torch

        class Net(torch.nn.Module):
            def forward(self, x):
                return x + 1 if bool(x.sum() > 0) else x - 1
        """,
    )

    with pytest.raises(ExportError) as caught:
        bench.export("net.py:Net", {"x": {"shape": ["batch", 4]}}, exporter="dynamo")

    assert "rules" not in str(caught.value)
    assert "data-dependent" in str(caught.value)
