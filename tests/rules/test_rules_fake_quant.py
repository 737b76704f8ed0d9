"""Quantization-aware training."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.ao import quantization

from onnxbuild.rules.fake_quant import run as fake_quant
from onnxbuild.rules.fake_quant.spec import FakeQuant

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*reduce_range:UserWarning"),
]

BUILD = """
    import warnings
    import torch
    from torch import nn
    from torch.ao import quantization

    def build(backend="fbgemm"):
        torch.manual_seed(0)
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).train()
        model.qconfig = quantization.get_default_qat_qconfig(backend)
        quantization.prepare_qat(model, inplace=True)
        model(torch.randn(64, 6))
        return model.apply(quantization.disable_observer).eval()
"""


def _never(model):
    raise AssertionError(model)


def _build(backend):
    import textwrap

    scope = {}
    exec(textwrap.dedent(BUILD), scope)
    return scope["build"](backend)


@pytest.mark.parametrize("backend", ["fbgemm", "qnnpack"])
def test_rounding_is_that_of_torch(backend):
    """Weights by channel or by tensor, and activations, are rounded as torch does; observers are gone."""
    model = _build(backend)
    value = torch.randn(32, 6) * 3
    with torch.no_grad():
        wanted = model(value)

        model, paths = fake_quant.apply(model, {}, _never)
        found = model(value)

    assert {"0.weight_fake_quant", "0.activation_post_process"} <= set(paths)
    # One rounding may fall on the other side where a value is in the middle.
    step = float(model[2].activation_post_process.scale)
    assert float((found - wanted).abs().max()) <= 1.01 * step
    assert float((found - wanted).abs().mean()) < 0.02 * step


def test_what_is_switched_off_does_nothing(capsys):
    """Fake quantization that is off is none, and an observer that is on is said."""
    layer = quantization.FakeQuantize()
    layer.disable_fake_quant()
    model = nn.Sequential(layer)

    model, paths = fake_quant.apply(model, {}, _never)

    assert (type(model[0]), paths) == (nn.Identity, ["0"])
    assert "0 observes what it is given" in capsys.readouterr().out


@pytest.mark.parametrize(("exporter", "opset"), [("dynamo", 18), ("torchscript", 11)])
def test_trained_quantization_exports(bench, exporter, opset):
    """What no exporter has exports with the rule, and gives the model's numbers."""
    bench.write("net.py", BUILD)
    rule = {"name": "fake_quant", "level": "module", "run": FakeQuant.run, "options": {}}

    exported = bench.export(
        "net.py:build",
        {"x": {"shape": ["batch", 6]}},
        replace=[rule],
        exporter=exporter,
        opset=opset,
    )

    assert "Round" in exported.operators()
    assert exported.worst() < 0.05
