"""Built-in rules for modules step in by themselves where an exporter fails."""

from __future__ import annotations

import pytest

from onnxbuild.errors import ExportError

pytestmark = pytest.mark.e2e

NET = """
    import torch
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils import parametrizations

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 4, 1)
            self.linear = parametrizations.orthogonal(nn.Linear(4, 4))
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, image):
            small = functional.adaptive_avg_pool2d(self.conv(image), (3, 2))
            row = self.linear(small.flatten(2).transpose(1, 2))
            return self.attention(row, row, row, need_weights=False)[0]
"""

INPUTS = {"image": {"shape": ["batch", 2, "height", "width"]}}
SIZES = {
    name: {"min": 4, "max": 19, "trace": size} for name, size in {"height": 6, "width": 9}.items()
}


@pytest.mark.parametrize(("exporter", "opset"), [("dynamo", 18), ("torchscript", 11)])
def test_an_export_that_fails_is_tried_with_rules(bench, exporter, opset):
    """What no recipe asked for is in the notes, with the reason; and the model holds at every size."""
    bench.write("net.py", NET)

    exported = bench.export("net.py:Net", INPUTS, dims=SIZES, exporter=exporter, opset=opset)

    assert exported.worst() < 1e-5
    fired = {rule["rule"]: rule for rule in exported.notes["rules"]}
    assert fired["adaptive_pool"]["where"] == ["(the model) (net.py:16)"]
    assert fired["parametrizations"]["where"] == ["linear.weight"]
    assert ("multihead_attention" in fired) == (exporter == "torchscript")
    for rule in fired.values():
        assert rule["why"].startswith(f"{exporter} failed without: {exporter} ")
    assert exported.notes["attempts"] == [{"exporter": exporter, "result": "ok"}]


def test_a_recipe_may_forbid_it(bench):
    """With `auto_rules: false` the export fails as it does without rules."""
    bench.write("net.py", NET)

    with pytest.raises(ExportError, match="input size not accessible"):
        bench.export(
            "net.py:Net", INPUTS, dims=SIZES, exporter="torchscript", opset=13, auto_rules=False
        )


def test_an_export_that_works_is_left_alone(bench):
    """A model that exports is not changed, though rules would match it."""
    bench.write(
        "net.py", NET.replace("parametrizations.orthogonal(nn.Linear(4, 4))", "nn.Linear(4, 4)")
    )

    exported = bench.export(
        "net.py:Net", {"image": {"shape": ["batch", 2, 6, 4]}}, exporter="dynamo"
    )

    assert "rules" not in exported.notes
    assert "AveragePool" in exported.operators()
