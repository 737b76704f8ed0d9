"""What rules for modules do to an export: models that fail or are worse without, with both exporters."""

from __future__ import annotations

import pytest

from onnxbuild import registry
from onnxbuild.errors import ExportError

pytestmark = pytest.mark.e2e

SIZES = {"height": {"min": 3, "max": 19, "trace": 6}, "width": {"min": 4, "max": 20, "trace": 9}}


def _rules(*names, **options):
    kinds = [registry.resolve("rules", name) for name in names]
    return [
        {"name": name, "level": kind.level, "run": kind.run, "options": options}
        for name, kind in zip(names, kinds, strict=True)
    ]


@pytest.mark.parametrize(("exporter", "opset"), [("dynamo", 18), ("torchscript", 11)])
def test_adaptive_pooling_holds_at_every_size(bench, exporter, opset):
    """Pooling to several values exports with dynamic sizes; without the rule it does not, whatever the exporter."""
    bench.write(
        "net.py",
        """
        from torch import nn
        from torch.nn import functional

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.pool = nn.AdaptiveAvgPool2d((3, 2))

            def forward(self, image):
                return self.pool(image), functional.adaptive_max_pool2d(image, 4)
        """,
    )
    inputs = {"image": {"shape": ["batch", 2, "height", "width"]}}
    settings = {"dims": SIZES, "exporter": exporter, "opset": opset, "auto_rules": False}

    with pytest.raises(ExportError):
        bench.export("net.py:Net", inputs, **settings)
    exported = bench.export("net.py:Net", inputs, replace=_rules("adaptive_pool"), **settings)

    assert exported.worst() < 1e-6
    (rule,) = exported.notes["rules"]
    assert rule["where"] == ["pool", "(the model) (net.py:11)"]


@pytest.mark.parametrize(("exporter", "opset"), [("dynamo", 18), ("torchscript", 17)])
def test_parametrized_weights_that_do_not_export(bench, exporter, opset):
    """An orthogonal weight needs a matrix exponential that ONNX lacks; folded, it is a weight like others."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn
        from torch.nn.utils import parametrizations

        def build():
            torch.manual_seed(0)
            return nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.ReLU())
        """,
    )
    inputs = {"x": {"shape": ["batch", 4]}}
    settings = {"exporter": exporter, "opset": opset, "auto_rules": False}

    with pytest.raises(ExportError):
        bench.export("net.py:build", inputs, **settings)
    exported = bench.export("net.py:build", inputs, replace=_rules("parametrizations"), **settings)

    assert exported.worst() < 1e-6
    weights = exported.notes["weights"]
    assert weights["exact"] == weights["tensors"] == 2
    assert weights["replaced"] == [
        "0.parametrizations.weight.original",
        "0.parametrizations.weight.0.base",
    ]


def test_batch_normalization_leaves_the_graph(bench):
    """Folded and frozen normalizations are no nodes, and every tensor that went is named."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Frozen(nn.Module):
            def __init__(self):
                super().__init__()
                for name in ("weight", "bias", "running_mean", "running_var"):
                    self.register_buffer(name, torch.rand(3) + 0.5)

            def forward(self, x):
                weight, bias, mean, var = (b.reshape(1, -1, 1, 1) for b in self.buffers())
                scale = weight * (var + 1e-5).rsqrt()
                return x * scale + (bias - mean * scale)

        def build():
            torch.manual_seed(0)
            model = nn.Sequential(
                nn.Conv2d(2, 3, 3), Frozen(), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
            )
            nn.init.uniform_(model[4].running_mean)
            return model
        """,
    )
    inputs = {"image": {"shape": ["batch", 2, 6, 6]}}

    exported = bench.export(
        "net.py:build", inputs, replace=_rules("frozen_batchnorm", "conv_bn"), exporter="dynamo"
    )

    assert exported.operators() == ["Conv", "Relu", "Conv"]
    assert exported.worst() < 1e-5
    assert [rule["where"] for rule in exported.notes["rules"]] == [["1"], ["1", "4"]]
    assert {"0.weight", "1.running_mean", "3.bias", "4.running_var"} <= set(
        exported.notes["weights"]["replaced"]
    )


OLD = """
    import torch
    from torch import nn
    from torch.nn import functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.norm = nn.RMSNorm(8)

        def forward(self, x):
            y = self.norm(self.encoder(x))
            return functional.interpolate(y, scale_factor=0.5, mode="area")
"""


def test_old_opsets_get_attention_norms_and_interpolation(bench):
    """TorchScript, which alone writes opset 11, exports none of the three by itself; with the rules all."""
    bench.write("net.py", OLD)
    inputs = {"x": {"shape": ["batch", "steps", 8]}}
    settings = {"exporter": "torchscript", "opset": 11, "auto_rules": False}
    rules = _rules("multihead_attention", "plain_functions", "interpolate")

    for number in range(len(rules)):
        with pytest.raises(ExportError):
            bench.export(
                "net.py:Net", inputs, replace=rules[:number] + rules[number + 1 :], **settings
            )
    exported = bench.export("net.py:Net", inputs, replace=rules, **settings)

    assert exported.worst() < 1e-5
    assert [rule["where"] for rule in exported.notes["rules"]] == [
        ["encoder.layers.0.self_attn"],
        ["norm"],
        ["(the model) (net.py:16)"],
    ]
