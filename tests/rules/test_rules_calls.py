"""Functions that a model calls, in layers or in its own forward, and what stands for them."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional

from onnxbuild.errors import ExportError
from onnxbuild.rules import windows
from onnxbuild.rules.adaptive_pool import run as adaptive_pool
from onnxbuild.rules.calls import replace_calls
from onnxbuild.rules.dropout import run as dropout
from onnxbuild.rules.interpolate import run as interpolate
from onnxbuild.rules.plain_functions import run as plain_functions

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("length", [1, 4, 7, 12])
def test_windows_are_those_of_torch(size, length):
    """Averages and maxima over computed windows are torch's, also where there are more windows than values."""
    value = torch.randn(2, 3, length, length + 1, dtype=torch.float64)
    square, cube = (size, size + 1), (2, size, None)

    torch.testing.assert_close(
        windows.average(value, square), functional.adaptive_avg_pool2d(value, square)
    )
    torch.testing.assert_close(
        windows.average(value, cube), functional.adaptive_avg_pool3d(value, cube)
    )
    assert torch.equal(
        windows.maximum(value, square), functional.adaptive_max_pool2d(value, square)
    )
    assert torch.equal(windows.maximum(value, cube), functional.adaptive_max_pool3d(value, cube))


def test_what_is_infinite_outside_a_window_stays_outside():
    """An infinite value reaches its own windows only."""
    value = torch.tensor([[[1.0, 2.0, float("inf"), 4.0]]])

    assert windows.average(value, (2,)).tolist() == [[[1.5, float("inf")]]]


class Pools(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = self.again = nn.AdaptiveAvgPool2d((3, None))
        self.one = nn.AdaptiveAvgPool2d(1)
        self.indices = nn.AdaptiveMaxPool2d(2, return_indices=True)

    def forward(self, x, *, scale=1.0):
        y = functional.adaptive_max_pool2d(self.first(x), (2, 2)) * scale
        return self.again(y) + self.one(x) + self.indices(x)[0].mean()


def test_layers_and_calls_are_named():
    """Layers are named by path, calls by the module and line that makes them; what stays is not named."""
    model = Pools().eval()
    value = torch.randn(2, 3, 6, 5)
    wanted = model(value, scale=2.0)

    model, paths = adaptive_pool.apply(model, {}, lambda net: net(value))

    first, call = paths
    assert first == "first"
    assert call.startswith("(the model) (")
    assert f"test_rules_calls.py:{inspect.getsourcelines(Pools.forward)[1] + 1}" in call
    torch.testing.assert_close(model(value, scale=2.0), wanted)
    assert list(inspect.signature(model.forward).parameters) == ["x", "scale"]


def test_a_model_that_calls_none_stays_as_it_is():
    """Where nothing is replaced, nothing is left behind."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1)).train()

    model, paths = adaptive_pool.apply(model, {}, lambda net: net(torch.randn(1, 2, 3, 3)))

    assert paths == []
    assert "forward" not in vars(model)
    assert model.training


def test_a_run_that_fails_leaves_the_model_as_it_was():
    """Whoever takes the failure gets the model without what was put around it to look."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(2))

    with pytest.raises(ZeroDivisionError):
        adaptive_pool.apply(model, {}, lambda net: net(torch.randn(1, 2, 4, 4)) / (1 // 0))

    assert "forward" not in vars(model)


def test_rules_one_after_the_other_all_hold():
    """A rule that finds nothing leaves what another one did, and two that find something both do."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Threshold(0.1, 3.0)).eval()
    value = torch.randn(1, 2, 3, 3)
    called = []
    table = {functional.adaptive_avg_pool2d: lambda *_: called.append("pool") or value}

    replace_calls(model, table, lambda net: net(value))
    assert interpolate.apply(model, {}, lambda net: net(value))[1] == []
    assert plain_functions.apply(model, {}, lambda net: net(value))[1] == ["1"]
    called.clear()

    assert torch.equal(model(value), torch.where(value > 0.1, value, 3.0))
    assert called == ["pool"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_models_are_refused():
    """Code that is not Python cannot be looked into."""
    model = torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2)))

    with pytest.raises(ExportError, match=r"compiled by torch\.jit"):
        adaptive_pool.apply(model, {}, lambda net: net(torch.randn(1, 2, 3, 3)))


class DropPath(nn.Module):
    """As timm writes it, and all who copy it."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        keep = 1 - self.drop_prob
        return x * x.new_empty(len(x), 1).bernoulli_(keep) / keep if self.training else x


class Drops(nn.Module):
    def __init__(self):
        super().__init__()
        self.path = DropPath(0.5)
        self.kinds = nn.ModuleList(
            [nn.Dropout(0.9), nn.AlphaDropout(0.9), nn.FeatureAlphaDropout(0.9)]
        )

    def forward(self, x):
        self.train()
        for layer in self.kinds:
            x = layer(x)
        return self.path(x)


def test_dropout_of_all_kinds_is_off_in_train_mode():
    """A model that puts itself in train mode in its forward drops nothing."""
    model = Drops()
    calls = []
    model.path.register_forward_hook(lambda *_: calls.append(1))
    path = model.path
    value = torch.randn(64, 4)

    model, paths = dropout.apply(model, {}, lambda net: net(value))

    calls.clear()
    assert paths == ["path", "kinds.0", "kinds.1", "kinds.2"]
    assert torch.equal(model(value), value)
    assert calls == [1]
    assert model.path is path
    assert path.drop_prob == 0.5


def test_dropout_that_no_layer_does_is_named(capsys):
    """A call of F.dropout that drops is no layer: it stays, and its line is said."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout()

        def forward(self, x):
            x = functional.dropout(self.drop(x), 0.5, training=self.training)
            return functional.dropout(x, 0.5)

    state = torch.random.get_rng_state()
    _, paths = dropout.apply(Net(), {}, lambda net: net(torch.randn(2, 2)))

    said = capsys.readouterr().out
    assert paths == ["drop"]
    assert said.count("drops in a function") == 1
    assert "return functional.dropout(x, 0.5)" in said
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_layer_of_that_name_without_a_rate_is_another():
    """A class is known by its name and its rate together."""

    class StochasticDepth(nn.Module):
        def forward(self, x):
            return x + 1

    model = nn.Sequential(StochasticDepth())

    assert dropout.apply(model, {}, lambda net: net(torch.zeros(1)))[1] == []
    assert model(torch.zeros(1)).item() == 1
