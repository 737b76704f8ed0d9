"""Weights: every misfit named, tied ones tied, the module's own types."""

from __future__ import annotations

import os
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from onnxbuild.errors import ModelError
from onnxbuild.recipe.schema import Model, Weights
from onnxbuild.steps.model.loading import load_model

pytestmark = pytest.mark.e2e

NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width=4):
            super().__init__()
            self.embed = nn.Embedding(10, width)
            self.norm = nn.BatchNorm1d(width)
            self.head = nn.Linear(width, 10, bias=False)
            self.head.weight = self.embed.weight
            self.register_buffer("scale", torch.arange(3.0), persistent=False)
            self.offset = torch.ones(2)
"""


class Net(nn.Module):
    """The same names."""

    def __init__(self, width=4):
        super().__init__()
        self.embed = nn.Embedding(10, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 10, bias=False)
        self.head.weight = self.embed.weight


def _state():
    torch.manual_seed(3)
    return {name: value.clone() for name, value in Net().state_dict().items()}


def _load(**weights):
    kwargs = weights.pop("kwargs", {})
    return load_model(Model(entry="net.py:Net", kwargs=kwargs, weights=Weights(**weights)))


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_reach_the_module(bench, suffix):
    """All tensors arrive in eval mode, tied ones as one, buffers that no file has with their values."""
    bench.write("net.py", NET)
    state = _state()
    if suffix == "safetensors":
        del state["head.weight"]
        save_file(state, "w.safetensors")
    else:
        torch.save(state, "w.pt")

    model = _load(path=f"w.{suffix}")

    assert not model.training
    assert model.head.weight is model.embed.weight
    assert isinstance(model.embed.weight, nn.Parameter)
    assert torch.equal(model.embed.weight, state["embed.weight"])
    assert model.scale.tolist() == [0, 1, 2]
    assert model.offset.tolist() == [1, 1]


def test_nothing_is_left_on_meta(bench, capsys):
    """A module that computes a buffer from its weights is built again, with the same random numbers."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.noise = torch.randn(3)
                self.fc = nn.Linear(2, 2)
                self.register_buffer("twice", self.fc.weight.detach() * 2, persistent=False)
        """,
    )
    save_file(nn.Linear(2, 2).state_dict(prefix="fc."), "w.safetensors")
    torch.manual_seed(5)

    model = _load(path="w.safetensors")

    assert not model.twice.is_meta
    assert "built again" in capsys.readouterr().out
    torch.manual_seed(5)
    assert torch.equal(model.noise, torch.randn(3))


def test_a_constructor_that_needs_values_gets_them(bench, capsys):
    """A constructor that reads its weights is run normally."""
    bench.write(
        "net.py",
        """
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(2, 2)
                self.mean = self.fc.weight.mean().item()
        """,
    )
    save_file(nn.Linear(2, 2).state_dict(prefix="fc."), "w.safetensors")

    model = _load(path="w.safetensors")

    assert isinstance(model.mean, float)
    assert "built normally" in capsys.readouterr().out


HOLDS = {
    "list": ("p = nn.Parameter(torch.randn(8)); self.p = p; self.held = [p]", "x * self.held[0]"),
    "closure": (
        "w = nn.Parameter(torch.randn(8)); self.w = w; self.act = lambda x: x * w",
        "self.act(x)",
    ),
    "partial": (
        "w = nn.Parameter(torch.randn(8)); self.w = w; self.act = partial(torch.mul, w)",
        "self.act(x)",
    ),
    "hook": (
        "g = nn.Parameter(torch.randn(4)); self.g = g; self.fc.register_forward_hook(lambda m, i, o: o * g)",
        "x",
    ),
    "slices": (
        "t = torch.randn(16); self.a = nn.Parameter(t[:8]); self.b = nn.Parameter(t[8:]); self.both = t",
        "x * self.both[:8] + self.both[8:]",
    ),
    "views of a buffer": (
        "self.register_buffer('gains', torch.ones(16)); self.pre, self.post = self.gains[:8], self.gains[8:]",
        "x * self.pre + self.post",
    ),
    "cycle": (
        "p = nn.Parameter(torch.randn(8)); self.p = p; held = [p]; held.append(held)",
        "x * self.p",
    ),
}
"""What a constructor may do with a weight beside registering it, and how forward then uses that."""


@pytest.mark.parametrize("way", HOLDS)
def test_whoever_holds_a_weight_gets_the_files(bench, way):
    """As with `load_state_dict`, which fills what is there: no random numbers stay behind."""
    body, used = HOLDS[way]
    bench.write(
        "net.py",
        f"""
        import torch
        from functools import partial
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 4)
                {body}

            def forward(self, x):
                return self.fc({used})
        """,
    )
    torch.manual_seed(1)
    plain = load_model(Model(entry="net.py:Net"))
    state = {name: torch.randn_like(value) for name, value in plain.state_dict().items()}
    save_file(state, "w.safetensors")
    plain.load_state_dict(state)

    model = _load(path="w.safetensors")

    x = torch.randn(3, 8)
    assert torch.equal(model(x), plain(x))


def test_an_override_of_train_may_forget_to_return(bench):
    """The usual way to keep batch norms frozen gives None from `eval()`."""
    bench.write(
        "net.py",
        """
        from torch import nn

        class Net(nn.Linear):
            def train(self, mode=True):
                super().train(mode)

        def build():
            return Net(2, 2)
        """,
    )

    assert not load_model(Model(entry="net.py:build")).training


def test_the_module_keeps_its_dtype(bench):
    """The file's tensors are cast to what the module has."""
    bench.write("net.py", NET)
    save_file(
        {n: v.half() if v.is_floating_point() else v for n, v in _state().items()}, "w.safetensors"
    )

    assert _load(path="w.safetensors").embed.weight.dtype == torch.float32


def test_all_misfits_are_named_at_once(bench):
    """Missing, unexpected and wrongly shaped tensors are in one error."""
    bench.write("net.py", NET)
    state = _state()
    state["extra.weight"] = state.pop("norm.bias")
    state["norm.weight"] = torch.ones(7)
    torch.save(state, "w.pt")

    with pytest.raises(ModelError) as caught:
        _load(path="w.pt")

    assert "missing (1): norm.bias" in caught.value.what
    assert "unexpected (1): extra.weight" in caught.value.what
    assert "norm.weight: 7 in the file, 4 in the model" in caught.value.what
    assert "kwargs" in caught.value.hint


def test_strict_false_loads_what_fits(bench, capsys):
    """Missing and unexpected tensors are allowed, wrong shapes are not."""
    bench.write("net.py", NET)
    state = _state()
    del state["norm.bias"]
    save_file({k: v for k, v in state.items() if k != "head.weight"}, "w.safetensors")

    model = _load(path="w.safetensors", strict=False)

    assert torch.equal(model.embed.weight, state["embed.weight"])
    assert not model.norm.bias.is_meta
    assert "weights missing (1): norm.bias" in capsys.readouterr().out


def test_a_file_of_which_nothing_fits_is_refused(bench):
    """Not even `strict: false` asks for a model of random numbers."""
    bench.write("net.py", NET)
    save_file({f"model.{k}": v for k, v in _state().items() if k != "head.weight"}, "w.safetensors")

    with pytest.raises(ModelError, match="unexpected") as caught:
        _load(path="w.safetensors", strict=False)

    assert caught.value.hint == "the file's names have a prefix: say `strip_prefix: model.`"


def test_a_prefix_is_suggested_and_stripped(bench):
    """Names that all begin with `module.` lead to the option that takes it off."""
    bench.write("net.py", NET)
    torch.save({f"module.{name}": value for name, value in _state().items()}, "w.pt")

    with pytest.raises(ModelError, match=r"strip_prefix: module."):
        _load(path="w.pt")

    assert not _load(path="w.pt", strip_prefix="module.").training
    with pytest.raises(ModelError, match=r"no tensor in w.pt begins with 'net.'"):
        _load(path="w.pt", strip_prefix="net.")


def test_a_nested_checkpoint(bench):
    """`key` walks into a checkpoint; without it the right one is suggested."""
    bench.write("net.py", NET)
    torch.save({"epoch": 3, "state": {"model": _state()}}, "w.pt")

    with pytest.raises(ModelError, match=r"there is no 'net' in 'state' of w.pt"):
        _load(path="w.pt", key="state.net")
    with pytest.raises(ModelError, match=r"key: state\.model"):
        _load(path="w.pt", key="state")
    with pytest.raises(ModelError, match=r"key: state\.model"):
        _load(path="w.pt")

    assert torch.equal(_load(path="w.pt", key="state.model").embed.weight, _state()["embed.weight"])


class Shell:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        pytest.param(nn.Linear(2, 2), "torch.nn.modules.linear.Linear", id="a module"),
        pytest.param({"w": Shell()}, "posix.system", id="a command"),
    ],
)
def test_code_in_a_pickle_is_refused(bench, content, named):
    """Pickles are read with weights_only: the code is named and does not run, and nothing advises to run it."""
    bench.write("net.py", NET)
    torch.save(content, "w.pt")

    with pytest.raises(ModelError, match=f"holds {named}") as caught:
        _load(path="w.pt")

    assert "torch.save(model.state_dict(), path)" in caught.value.hint
    assert "False" not in str(caught.value)
    assert not os.path.exists("ran")


def test_a_torchscript_file_is_no_file_of_weights(bench):
    """The message says that it is a model, and how to use it as one."""
    bench.write("net.py", NET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save("w.pt")

    with pytest.raises(ModelError, match="TorchScript model") as caught:
        _load(path="w.pt")

    assert "torch.jit.load" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"nonsense", "damaged"),
        ("w.pt", b"nonsense", "damaged"),
        ("w.pt", b"", "ends early"),
        ("w.npy", b"nonsense", "neither .safetensors nor"),
        (None, b"", "there is no file"),
    ],
)
def test_files_that_are_no_weights(bench, name, content, message):
    """Damaged, foreign and missing files are said as such."""
    bench.write("net.py", NET)
    if name:
        with open(name, "wb") as file:
            file.write(content)

    with pytest.raises(ModelError, match=message):
        _load(path=name or "w.pt")
