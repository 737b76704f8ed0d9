"""Wrappers of training and adapters."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from onnxbuild.errors import ExportError
from onnxbuild.rules.unwrap import run as unwrap

pytestmark = pytest.mark.e2e


def _never(model):
    raise AssertionError(model)


class Adapted(nn.Module):
    """A layer with a low-rank adapter, as peft writes it."""

    def __init__(self, base, *, merged=False, off=False):
        super().__init__()
        self.base_layer = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)
        self.merged, self.disable_adapters = merged, off

    def merge(self):
        self.base_layer.weight.data += self.up.weight @ self.down.weight
        self.merged = True

    def forward(self, x):
        y = self.base_layer(x)
        return y if self.merged or self.disable_adapters else y + self.up(self.down(x))


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, AveragedModel, partial(torch.compile, backend="eager")]
)
def test_wrappers_go_and_weights_lose_their_prefix(wrap):
    """The module inside is the model, itself and not a copy; its names are its own."""
    inner = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    wrapped = wrap(inner)
    inside = getattr(wrapped, "_orig_mod", None) or wrapped.module

    model, paths = unwrap.apply(wrapped, {}, _never)

    assert model is inside
    assert paths == ["(the model)"]
    assert set(model.state_dict()) == {"0.weight", "0.bias"}


def test_wrappers_in_wrappers_and_inside_of_a_model():
    """A wrapper of a wrapper, deep in a model and in two places, leaves one shared module."""
    layer = nn.Linear(3, 3)
    twice = nn.DataParallel(nn.DataParallel(layer))
    model = nn.Sequential(twice, nn.ReLU(), twice)

    model, paths = unwrap.apply(model, {}, _never)

    assert model[0] is model[2] is layer
    assert paths == ["0", "2", "0", "2"]
    assert unwrap.apply(model, {}, _never)[1] == []


@pytest.mark.parametrize("state", ["open", "merged", "off"])
@pytest.mark.parametrize("training", [True, False])
def test_adapters_are_merged(state, training):
    """The layer alone gives what it gave with its adapter, be it merged before or switched off."""
    layer = Adapted(nn.Linear(4, 5), merged=state == "merged", off=state == "off")
    model = nn.Sequential(nn.ReLU(), layer).train(training)
    value = torch.randn(3, 4)
    wanted = model(value)

    model, paths = unwrap.apply(model, {}, _never)

    assert paths == ["1"]
    assert type(model[1]) is nn.Linear
    assert model[1].training is training
    assert set(model.state_dict()) == {"1.weight", "1.bias"}
    torch.testing.assert_close(model(value), wanted)


def test_a_wrapper_with_hooks_is_refused():
    """What hangs on a wrapper is not dropped in silence."""
    model = nn.DataParallel(nn.Linear(2, 2))
    model.register_forward_hook(lambda *_: None)

    with pytest.raises(ExportError, match=r"DataParallel at .the model. has hooks"):
        unwrap.apply(model, {}, _never)
