"""Replacement rules for modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onnxbuild.errors import ExportError
from onnxbuild.rules.custom import run as custom
from onnxbuild.rules.module import run as module
from onnxbuild.rules.sync_batchnorm import run as sync_batchnorm
from onnxbuild.rules.sync_batchnorm.spec import SyncBatchNorm
from onnxbuild.steps.export.replace import replace_modules

pytestmark = pytest.mark.e2e


def _never(model):
    raise AssertionError(model)


def _caller(*shape, dtype=torch.float32):
    return lambda model: model(torch.randn(*shape, dtype=dtype))


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2, 4), nn.BatchNorm1d),
        ((2, 4, 5), nn.BatchNorm1d),
        ((2, 4, 5, 6), nn.BatchNorm2d),
        ((2, 4, 5, 6, 7), nn.BatchNorm3d),
    ],
)
def test_the_rank_decides_the_class(shape, kind):
    """A SyncBatchNorm becomes the batch normalization of its input's rank, and gives the same numbers."""
    layer = nn.SyncBatchNorm(4)
    layer.running_mean.uniform_()
    layer.running_var.uniform_(0.5, 2)
    model = nn.Sequential(layer).eval()
    value = torch.randn(*shape)
    with torch.no_grad():
        wanted = nn.functional.batch_norm(
            value, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
        )

    model, paths = sync_batchnorm.apply(model, {}, _caller(*shape))

    assert (type(model[0]), paths) == (kind, ["0"])
    assert torch.equal(model(value), wanted)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None, "eps": 0.1}, {"affine": False}, {"track_running_stats": False}],
)
def test_everything_of_the_layer_stays(training, options):
    """Weights, statistics, counters, settings, modes, types and hooks are as they were."""
    layer = nn.SyncBatchNorm(4, dtype=torch.float64, **options)
    if layer.affine:
        layer.weight.requires_grad_(False)
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    model = nn.Sequential(nn.Identity(), layer).train(training)
    state = {
        name: (value, value.clone()) for name, value in layer.state_dict(keep_vars=True).items()
    }

    sync_batchnorm.apply(model, {}, _caller(2, 4, 3, 3, dtype=torch.float64))

    new = model[1]
    assert type(new) is nn.BatchNorm2d
    assert new.training is model[0].training is training
    assert (new.momentum, new.eps) == (options.get("momentum", 0.1), options.get("eps", 1e-5))
    for name, (value, copy) in state.items():
        assert new.state_dict(keep_vars=True)[name] is value
        assert torch.equal(value, copy)
    assert new.weight is None or not new.weight.requires_grad
    calls.clear()
    model(torch.randn(2, 4, 3, 3, dtype=torch.float64))
    assert calls == [1]
    assert not hasattr(new, "process_group")


def test_a_shared_layer_stays_shared_whatever_its_ranks():
    """One layer in two places is one layer after, also where it sees different ranks."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.second = nn.SyncBatchNorm(4)
            self.idle = nn.SyncBatchNorm(4)

        def forward(self, x):
            return self.second(self.first(x).mean((2, 3)))

    model, paths = sync_batchnorm.apply(Net().eval(), {}, _caller(2, 4, 3, 3))

    assert model.first is model.second
    assert type(model.first) is type(model.idle) is sync_batchnorm.BatchNorm
    assert paths == ["first", "idle"]
    assert model(torch.randn(2, 4, 3, 3)).shape == (2, 4)


def test_a_model_without_the_layer_is_not_run():
    """Nothing to replace is an empty list."""
    assert sync_batchnorm.apply(nn.Linear(2, 2), {}, _never)[1] == []


NET = """
    import torch
    from torch import nn

    class Swish(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    class LoudSwish(Swish):
        pass

    class MyLinear(nn.Module):
        def __init__(self, in_features, out_features, bias=True, gain=1.0):
            super().__init__()
            self.in_features, self.out_features = in_features, out_features
            self.weight = nn.Parameter(torch.randn(out_features, in_features))
            self.bias = nn.Parameter(torch.randn(out_features)) if bias else None

        def forward(self, x):
            return nn.functional.linear(x, self.weight, self.bias)

    class Needs(nn.Module):
        def __init__(self, what):
            super().__init__()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = MyLinear(3, 4, bias=False)
            self.act = self.again = Swish()
            self.loud = LoudSwish()

        def forward(self, x):
            return self.loud(self.again(self.act(self.fc(x))))

    def doubled(old):
        return nn.Sequential(old, old)

    def count(model, factor=1):
        return factor * len(list(model.children()))

    def other(model):
        return nn.Identity()

    def nothing(model):
        pass
"""


@pytest.fixture
def net(bench):
    bench.write("net.py", NET)
    from onnxbuild import entries

    return entries.load("net.py:Net")().eval()


def test_every_instance_of_the_class_is_replaced(net):
    """The exact class, everywhere it stands; subclasses and sharing stay."""
    model, paths = module.apply(net, {"module": "net.py:Swish", "with": "torch.nn.SiLU"}, _never)

    assert paths == ["act", "again"]
    assert type(model.act) is nn.SiLU
    assert model.act is model.again
    assert type(model.loud).__name__ == "LoudSwish"
    assert not model.act.training


def test_arguments_and_tensors_are_carried_over(net):
    """The new class is made with the old one's attributes and takes its tensors, as they are."""
    weight = net.fc.weight
    weight.requires_grad_(False)

    model, _ = module.apply(net, {"module": "net.py:MyLinear", "with": "torch.nn.Linear"}, _never)

    assert type(model.fc) is nn.Linear
    assert (model.fc.in_features, model.fc.out_features, model.fc.bias) == (3, 4, None)
    assert model.fc.weight is weight
    assert not model.fc.training


def test_a_function_gets_the_old_module(net):
    """A function returns what stands there from then on, and may keep the old module inside."""
    old = net.act

    model, paths = module.apply(net, {"module": "net.py:Swish", "with": "net.py:doubled"}, _never)

    assert paths == ["act", "again"]
    assert model.act[0] is old
    assert (
        module.apply(old, {"module": "net.py:Swish", "with": "net.py:doubled"}, _never)[0][1] is old
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"module": "net.py:Swish", "with": "net.py:Needs"},
            "needs what, which Swish at act does not",
        ),
        ({"module": "net.py:doubled", "with": "torch.nn.SiLU"}, "is no nn.Module class"),
        ({"module": "net.py:Swish", "with": "net.py:nothing"}, "returned a NoneType for act"),
    ],
)
def test_what_cannot_be_replaced_is_said(net, options, message):
    """Arguments that the old module lacks, and what is no module, are errors with names."""
    with pytest.raises(ExportError, match=message):
        module.apply(net, options, _never)


def test_custom_functions_count_or_replace(net):
    """A user's function says how many it replaced, or gives another model."""
    _, paths = custom.apply(net, {"function": "net.py:count", "options": {"factor": 2}}, _never)
    other, replaced = custom.apply(net, {"function": "net.py:other"}, _never)

    assert len(paths) == 2 * len(list(net.children()))
    assert (type(other), len(replaced)) == (nn.Identity, 1)
    with pytest.raises(ExportError, match="returned None"):
        custom.apply(net, {"function": "net.py:nothing"}, _never)


def test_a_rule_that_matches_nothing_is_an_error_unless_optional(net):
    """What a recipe asks and the model does not have is said, with what it has."""
    rule = {
        "name": "sync",
        "level": "module",
        "run": SyncBatchNorm.run,
        "options": {"optional": False},
    }

    with pytest.raises(ExportError, match=r"(?s)'sync' matches nothing.*LoudSwish"):
        replace_modules(net, [rule], _never)

    _, fired = replace_modules(net, [rule | {"options": {"optional": True}}], _never)
    assert fired == [{"rule": "sync", "level": "module", "count": 0, "where": []}]
