"""Frozen batch normalization, and batch normalization that is folded into what is before it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from onnxbuild.rules.conv_bn import run as conv_bn
from onnxbuild.rules.frozen_batchnorm import run as frozen
from onnxbuild.rules.surgery import difference

pytestmark = pytest.mark.e2e


def _never(model):
    raise AssertionError(model)


class Frozen(nn.Module):
    """As torchvision and detectron2 write it (`eps` given), as DETR does (a number in forward), or without one."""

    def __init__(self, size, number=1e-5, eps=None):
        super().__init__()
        if eps is not None:
            self.eps = eps
        self.number = number
        self.register_buffer("weight", torch.rand(size) + 0.5)
        self.register_buffer("bias", torch.randn(size))
        self.register_buffer("running_mean", torch.randn(size))
        self.register_buffer("running_var", torch.rand(size) + 0.5)

    def forward(self, x):
        by_channel = (1, -1, 1, 1)
        weight, bias = self.weight.reshape(by_channel), self.bias.reshape(by_channel)
        scale = weight * (self.running_var.reshape(by_channel) + self.number).rsqrt()
        return x * scale + (bias - self.running_mean.reshape(by_channel) * scale)


@pytest.mark.parametrize(
    ("number", "eps"), [(1e-5, 1e-5), (1e-5, None), (1e-3, None), (0.0, None), (0.01, 0.01)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_epsilon_of_frozen_layers_is_found(number, eps, dtype):
    """A frozen layer becomes a batch normalization of the same numbers, wherever it had its epsilon."""
    layer = Frozen(4, number, eps).to(dtype)
    state = dict(layer.named_buffers())
    model = nn.Sequential(layer).train()
    value = torch.randn(2, 4, 5, 6, dtype=dtype)
    wanted = model(value)

    _, paths = frozen.apply(model, {}, _never)

    assert (type(model[0]), paths) == (nn.BatchNorm2d, ["0"])
    assert model[0].eps == number
    assert model[0] is layer
    assert dict(layer.named_buffers()) == state
    torch.testing.assert_close(model.eval()(value), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_frozen_layers_of_half_precision(dtype):
    """In half precision the two agree as far as that type is precise."""
    model = nn.Sequential(Frozen(4)).to(dtype)
    value = torch.randn(2, 4, 5, 6, dtype=dtype)
    wanted = model(value)

    assert frozen.apply(model, {}, _never)[1] == ["0"]
    torch.testing.assert_close(model.eval()(value), wanted, rtol=0.05, atol=0.1)


def test_what_only_looks_frozen_is_left(capsys):
    """Four buffers of these names are not enough: the numbers must be the same."""

    class Other(Frozen):
        def forward(self, x):
            return super().forward(x).relu()

    model = nn.Sequential(Other(4))

    assert frozen.apply(model, {}, _never)[1] == []
    assert type(model[0]) is Other
    assert "computes another thing" in capsys.readouterr().out


def _norm(layer):
    """Give a batch normalization numbers that show."""
    for tensor, low in ((layer.running_mean, -1), (layer.running_var, 0.5)):
        nn.init.uniform_(tensor, low, 2)
    if layer.affine:
        nn.init.uniform_(layer.weight, 0.5, 2)
        nn.init.uniform_(layer.bias)
    return layer


PAIRS = {
    "conv1d": (lambda: (nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6)), (2, 4, 9)),
    "conv2d": (lambda: (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)), (2, 4, 9, 8)),
    "conv3d": (lambda: (nn.Conv3d(4, 6, 2), nn.BatchNorm3d(6, affine=False)), (2, 4, 5, 4, 3)),
    "transposed": (lambda: (nn.ConvTranspose2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)), (2, 4, 5, 5)),
    "groups": (lambda: (nn.ConvTranspose1d(4, 6, 3, groups=2), nn.BatchNorm1d(6)), (2, 4, 5)),
    "linear": (lambda: (nn.Linear(4, 6), nn.BatchNorm1d(6)), (3, 4)),
    "double": (lambda: (nn.Conv1d(4, 6, 3).double(), nn.BatchNorm1d(6).double()), (2, 4, 9)),
    "half": (lambda: (nn.Linear(4, 6).bfloat16(), nn.BatchNorm1d(6).bfloat16()), (3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("training", [True, False])
def test_pairs_are_folded(kind, training):
    """The layer alone gives what the two gave, and the statistics are gone."""
    make, shape = PAIRS[kind]
    layer, norm = make()
    model = nn.Sequential(layer, _norm(norm), nn.ReLU()).eval()
    value = torch.randn(shape, dtype=layer.weight.dtype)
    with torch.no_grad():
        wanted = model(value)
    model.train(training)

    model, paths = conv_bn.apply(model, {}, lambda net: net(value))

    assert paths == ["1"]
    assert (type(model[0]), type(model[1])) == (type(layer), nn.Identity)
    assert set(model.state_dict()) == {"0.weight", "0.bias"}
    assert model[1].training is model[0].training is training
    rounding = 0.05 if layer.weight.dtype is torch.bfloat16 else None
    torch.testing.assert_close(model.eval()(value), wanted, rtol=rounding, atol=rounding)


class Branch(nn.Module):
    """A convolution and a batch normalization, wired as the test says."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = _norm(nn.BatchNorm2d(3))
        self.other = _norm(nn.BatchNorm2d(3))

    def forward(self, x):
        y = self.conv(x)
        if self.how == "residual":
            return self.norm(y) + y
        if self.how == "returned":
            return self.norm(y), y
        if self.how == "two norms":
            return self.norm(y) + self.other(y)
        if self.how == "conv twice":
            return self.norm(y) + self.conv(x + 1)
        if self.how == "norm twice":
            return self.norm(y) + self.norm(x)
        if self.how == "both twice":
            return self.norm(y) + self.norm(self.conv(x + 1))
        if self.how == "between":
            return self.norm(y.relu())
        if self.how == "looked at":
            return self.norm(y) * y.detach().mean()
        return self.norm(y)


@pytest.mark.parametrize(
    ("how", "folded"),
    [
        ("plain", True),
        ("both twice", True),
        ("residual", False),
        ("returned", False),
        ("two norms", False),
        ("conv twice", False),
        ("norm twice", False),
        ("between", False),
        ("looked at", False),
    ],
)
def test_only_what_the_normalization_alone_uses_is_folded(how, folded):
    """A result that is used elsewhere, or a layer that is, stays; and the numbers are the same either way."""
    model = Branch(how).eval()
    value = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        wanted = model(value)

    model, paths = conv_bn.apply(model, {}, lambda net: net(value))

    assert paths == (["norm"] if folded else [])
    torch.testing.assert_close(model(value), wanted)


def test_what_is_no_number_is_not_near():
    """A layer that gives NaN where it gave none is another one."""
    assert difference(torch.tensor([1.0, float("nan")]), torch.ones(2)) == float("inf")


def test_layers_that_are_not_what_they_seem_are_left(capsys):
    """A forward of its own, a hook, a parametrized weight and statistics of the batch are each said."""

    class Standardized(nn.Conv2d):
        def forward(self, x):
            return nn.functional.conv2d(x, self.weight - self.weight.mean(), self.bias)

    hooked = nn.Conv2d(3, 3, 1)
    hooked.register_forward_hook(lambda *args: args[2] * 2)
    model = nn.Sequential(
        Standardized(3, 3, 1), _norm(nn.BatchNorm2d(3)),
        hooked, _norm(nn.BatchNorm2d(3)),
        parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), _norm(nn.BatchNorm2d(3)),
        nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False),
    ).eval()  # fmt: skip

    _, paths = conv_bn.apply(model, {}, lambda net: net(torch.randn(2, 3, 4, 4)))

    said = capsys.readouterr().out
    assert paths == []
    assert "1 after 0: Standardized has a forward of its own" in said
    assert "3 after 2: Conv2d has hooks" in said
    assert "5 after 4: its weight is parametrized" in said


def test_a_tied_weight_stays_for_the_other():
    """Folding into one of two layers that share a weight changes that layer alone."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), _norm(nn.BatchNorm2d(3)), nn.Conv2d(3, 3, 1)).eval()
    model[2].weight = model[0].weight
    value = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        wanted = model(value)

    _, paths = conv_bn.apply(model, {}, lambda net: net(value))

    assert paths == ["1"]
    assert model[2].weight is not model[0].weight
    torch.testing.assert_close(model(value), wanted)


def test_a_model_without_pairs_is_not_run():
    """Nothing to fold is an empty list."""
    assert conv_bn.apply(nn.Linear(2, 2), {}, _never)[1] == []
