"""Weights that are computed at each call become plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from onnxbuild.errors import ExportError
from onnxbuild.rules.parametrizations import run as any_kind
from onnxbuild.rules.parametrizations.spec import Parametrizations
from onnxbuild.rules.spectral_norm import run as spectral
from onnxbuild.rules.weight_norm import run as weight
from onnxbuild.steps.export.replace import replace_modules

pytestmark = pytest.mark.e2e

KINDS = {
    "weight norm, hook": (weight, weight_norm),
    "weight norm": (weight, parametrizations.weight_norm),
    "spectral norm, hook": (spectral, spectral_norm),
    "spectral norm": (spectral, parametrizations.spectral_norm),
    "weight norm as any": (any_kind, parametrizations.weight_norm),
    "orthogonal": (any_kind, parametrizations.orthogonal),
    "pruned": (any_kind, lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
}


def _never(model):
    raise AssertionError(model)


def _pass(model):
    del model


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_the_folded_weight_is_that_of_eval_mode(kind, training):
    """Both kinds of each norm give plain parameters with the very numbers of eval mode, whatever the mode was."""
    rule, make = KINDS[kind]
    model = nn.Sequential(nn.ReLU(), make(nn.Linear(6, 5)))
    value = torch.randn(3, 6)
    with torch.no_grad():
        model(value)
        model.eval()
        wanted = model(value)
    calls = []
    model[1].register_forward_hook(lambda *_: calls.append(1))
    model.train(training)

    model, paths = rule.apply(model, {}, _never)

    assert paths == ["1.weight"]
    assert type(model[1]) is nn.Linear
    assert set(model.state_dict()) == {"1.weight", "1.bias"}
    assert isinstance(model[1].weight, nn.Parameter)
    assert model[1].training is model[0].training is training
    assert torch.equal(model.eval()(value), wanted)
    assert calls == [1]
    assert rule.apply(model, {}, _never)[1] == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_stay(dtype):
    """Weights of half precision fold in half precision, as they are computed at each call."""
    model = parametrizations.weight_norm(nn.Conv1d(4, 5, 3, dtype=dtype)).eval()
    wanted = model.weight.detach().clone()

    weight.apply(model, {}, _never)

    assert model.weight.dtype is dtype
    assert torch.equal(model.weight, wanted)


def test_a_shared_original_is_not_changed_for_others():
    """A parameter that another layer uses as it is stays what it was there."""
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    parametrizations.spectral_norm(first)
    plain = second.weight.detach().clone()
    model = nn.Sequential(first, second).eval()

    any_kind.apply(model, {}, _never)

    assert torch.equal(second.weight, plain)
    assert not torch.equal(first.weight, plain)


def test_a_shared_layer_is_folded_once():
    """One layer in two places is one layer after."""
    layer = parametrizations.weight_norm(nn.Linear(4, 4))
    model = nn.Sequential(layer, nn.ReLU(), layer).eval()

    _, paths = weight.apply(model, {}, _never)

    assert paths == ["0.weight"]
    assert model[0] is model[2]


def test_other_parametrizations_stay_with_their_rule():
    """`weight_norm` folds weight norms alone, and a tensor with others besides as a whole."""

    class Half(nn.Module):
        def forward(self, value):
            return value / 2

    both = parametrizations.weight_norm(nn.Linear(4, 4))
    parametrize.register_parametrization(both, "weight", Half())
    parametrize.register_parametrization(both, "bias", Half())
    model = nn.Sequential(both).eval()
    value = torch.randn(2, 4)
    wanted = model(value)

    _, paths = weight.apply(model, {}, _never)

    assert paths == ["0.weight"]
    assert set(both.parametrizations) == {"bias"}
    assert torch.equal(model(value), wanted)
    assert any_kind.apply(model, {}, _never)[1] == ["0.bias"]
    assert torch.equal(model(value), wanted)


def test_what_is_drawn_at_each_call_is_refused():
    """A parametrization that gives another weight each time has no plain weight."""

    class Noisy(nn.Module):
        def forward(self, value):
            return value + torch.randn_like(value)

    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Noisy())

    with pytest.raises(ExportError, match=r"0\.weight has another value each time"):
        any_kind.apply(nn.Sequential(layer), {}, _never)


def test_the_notes_name_the_tensors_that_went():
    """Every tensor of the model as it was written is accounted for, those that a rule folded too."""
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 3)).eval()
    rule = {
        "name": "parametrizations", "level": "module", "run": Parametrizations.run, "options": {}
    }  # fmt: skip

    model, fired = replace_modules(model, [rule], _pass)

    assert fired == [
        {
            "rule": "parametrizations",
            "level": "module",
            "count": 1,
            "where": ["0.weight"],
            "weights": [
                "0.parametrizations.weight.original0",
                "0.parametrizations.weight.original1",
            ],
        }
    ]
