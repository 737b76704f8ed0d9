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


SMALL = """
    import torch
    from torch import nn
    from torch.nn import functional

    class Small(nn.Module):
        def forward(self, x, kernels):
            batch, channels, height, width = x.shape
            image = x.reshape(1, batch * channels, height, width)
            kernels = kernels.view(batch * 3, channels, 3, 3)
            own = functional.conv2d(image, kernels, padding=1, groups=batch)
            own = own.view(batch, 3, height, width) * torch.linspace(-1, height, width)
            steps = torch.diff(own, dim=2, prepend=own[:, :, :1])
            best = steps.take_along_dim(steps.argsort(-1)[..., :2], dim=-1)
            squares = own @ own.transpose(2, 3)
            small = squares[:, :, :3, :3] + 9 * torch.eye(3)
            return best, torch.linalg.solve(small, best[:, :, :3]), torch.linalg.slogdet(small)[1]
"""


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_functions_that_exporters_lack_are_written_with_others(bench, exporter):
    """Weights for each sample, as many values as a size, differences, choices and small systems hold at every size."""
    bench.write("net.py", SMALL)

    result = bench.export(
        "net.py:Small",
        X | {"kernels": {"shape": ["batch", 3, 2, 3, 3]}},
        dims=SIZES,
        exporter=exporter,
    )

    assert result.worst() < 1e-3
    (rule,) = [rule for rule in result.notes["rules"] if rule["rule"] == "plain_functions"]
    assert rule["count"] == 5


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
    assert "decides by values" in str(caught.value)


MIXED = """
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

IMAGE = {"image": {"shape": ["batch", 2, "height", "width"]}}
ROOM = {
    name: {"min": 4, "max": 19, "trace": size} for name, size in {"height": 6, "width": 9}.items()
}


@pytest.mark.parametrize(("exporter", "opset"), [("dynamo", 18), ("torchscript", 11)])
def test_an_export_that_fails_is_tried_with_rules(bench, exporter, opset):
    """What no recipe asked for is in the notes, with the reason; and the model holds at every size."""
    bench.write("net.py", MIXED)

    exported = bench.export("net.py:Net", IMAGE, dims=ROOM, exporter=exporter, opset=opset)

    assert exported.worst() < 1e-5
    fired = {rule["rule"]: rule for rule in exported.notes["rules"]}
    assert fired["adaptive_pool"]["where"] == ["(the model) (net.py:16)"]
    assert fired["parametrizations"]["where"] == ["linear.weight"]
    assert "multihead_attention" in fired
    for rule in fired.values():
        assert rule["why"].startswith(f"{exporter}: ")
    assert exported.notes["attempts"] == [{"exporter": exporter, "result": "ok"}]


def test_an_export_that_works_is_left_alone(bench):
    """A model that exports is not changed, though rules would match it."""
    bench.write(
        "net.py", MIXED.replace("parametrizations.orthogonal(nn.Linear(4, 4))", "nn.Linear(4, 4)")
    )

    exported = bench.export(
        "net.py:Net", {"image": {"shape": ["batch", 2, 6, 4]}}, exporter="dynamo"
    )

    assert "rules" not in exported.notes
    assert "AveragePool" in exported.operators()


def test_a_compiled_model_fails_as_it_did(bench):
    """A compiled model has no Python to replace calls in, and the message is the exporter's."""
    bench.write(
        "net.py",
        """
        import warnings
        import torch
        from torch import nn

        def build():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d((3, 2))))
        """,
    )

    with pytest.raises(ExportError, match="input size not accessible"):
        bench.export("net.py:build", IMAGE, dims=ROOM, exporter="torchscript")
