"""How a model is loaded and called, and what it may return."""

from __future__ import annotations

import dataclasses
import sys
from collections import namedtuple

import pytest
import torch
from torch import nn

from onnxbuild.errors import ModelError
from onnxbuild.recipe.schema import Model
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.flatten import flatten, name_outputs
from onnxbuild.steps.model.loading import load_model

pytestmark = pytest.mark.e2e

ONE = torch.ones(1)


@dataclasses.dataclass
class Answer:
    """Some outputs."""

    logits: torch.Tensor
    hidden: tuple
    extra: torch.Tensor | None = None


Pair = namedtuple("Pair", "first second")  # noqa: PYI024


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (ONE, ["output"]),
        ((ONE, None, [ONE]), ["output_0", "output_2.0"]),
        ({"b": ONE, "a": {"x": ONE}}, ["b", "a.x"]),
        (Answer(ONE, (ONE, ONE)), ["logits", "hidden.0", "hidden.1"]),
        (Pair(ONE, ONE), ["first", "second"]),
        ({"a": {"b": ONE}, "a.b": ONE}, ["a.b", "a.b_2"]),
    ],
)
def test_outputs_are_flattened_in_order(value, names):
    """Every container has one order, and every tensor a name."""
    assert name_outputs([path for path, _ in flatten(value)]) == names


@pytest.mark.parametrize(
    "value", [{"loss": 1.5}, {"loss": "text"}, {"loss": torch.eye(2).to_sparse()}]
)
def test_what_is_no_tensor_is_refused(value):
    """Numbers, text and sparse tensors have no place in a graph's outputs."""
    with pytest.raises(ModelError, match="output 'loss' is a"):
        list(flatten(value))


class Takes(nn.Module):
    """Records what each parameter got."""

    def forward(self, a, b, c=None, *, d=None):
        self.got = {
            k: None if v is None else int(v) for k, v in {"a": a, "b": b, "c": c, "d": d}.items()
        }
        return a + b


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        (["a", "b"], {"a": 0, "b": 1, "c": None, "d": None}),
        (["b", "a"], {"a": 1, "b": 0, "c": None, "d": None}),
        (["x", "y", "z"], {"a": 0, "b": 1, "c": 2, "d": None}),
        (["x", "a"], {"a": 1, "b": 0, "c": None, "d": None}),
        (["a", "b", "d"], {"a": 0, "b": 1, "c": None, "d": 2}),
    ],
)
def test_inputs_map_by_name_else_by_order(inputs, got):
    """A name that forward() has is that parameter; the others fill what is left."""
    model = Takes()

    Adapter(model, inputs, None).call([torch.tensor(float(i)) for i in range(len(inputs))])

    assert model.got == got


def test_too_few_and_too_many_inputs_are_said():
    """The error lists what forward() takes."""
    with pytest.raises(ModelError, match="forward\\(\\) needs b"):
        Adapter(Takes(), ["a"], None)
    with pytest.raises(ModelError, match="has 5 inputs"):
        Adapter(Takes(), ["a", "b", "c", "d", "e"], None)


def test_a_misspelt_input_is_not_passed_for_another():
    """By order it would be the mask; the name says what was meant."""

    class Net(nn.Module):
        def forward(self, x, mask=None, positions=None):
            return x

    with pytest.raises(
        ModelError, match="'position'; by order the input would be its 'mask'"
    ) as caught:
        Adapter(Net(), ["x", "position"], None)

    assert caught.value.hint == "did you mean 'positions'?"


class Two(nn.Module):
    """Gives a dict."""

    def forward(self, x):
        return {"logits": x + 1, "boxes": x + 2}


def test_outputs_match_by_name_else_by_order():
    """The model's own names mean those outputs, in another order and not all; new names rename all in order."""
    value = [torch.zeros(1)]

    by_name = Adapter(Two(), ["x"], ["boxes", "logits"]).call(value)
    by_order = Adapter(Two(), ["x"], ["p", "q"]).call(value)

    assert {name: int(item) for name, item in by_name.items()} == {"boxes": 2, "logits": 1}
    assert {name: int(item) for name, item in by_order.items()} == {"p": 1, "q": 2}
    some = Adapter(Two(), ["x"], ["boxes"]).call(value)
    assert {name: int(item) for name, item in some.items()} == {"boxes": 2}
    with pytest.raises(ModelError, match="the model gives 2: logits, boxes"):
        Adapter(Two(), ["x"], ["scores"]).call(value)
    with pytest.raises(ModelError, match="by order 'boxes' would name the model's 'logits'"):
        Adapter(Two(), ["x"], ["boxes", "logit"]).call(value)
    kept = Adapter(Two(), ["x"], ["logits", "corners"]).call(value)
    assert {name: int(item) for name, item in kept.items()} == {"logits": 1, "corners": 2}


def test_an_output_may_not_have_the_name_of_an_input():
    """A graph has each name once; what to do is said before an exporter stumbles."""

    class Net(nn.Module):
        def forward(self, logits):
            return {"logits": logits + 1, "boxes": logits}

    value = [torch.zeros(1)]

    with pytest.raises(ModelError, match="both named 'logits'") as caught:
        Adapter(Net(), ["logits"], None).call(value)

    assert caught.value.hint.endswith("in the order of logits, boxes")
    assert set(Adapter(Net(), ["logits"], ["scores", "places"]).call(value)) == {"scores", "places"}


def test_children_of_any_name_are_the_users(bench):
    """A child named like something of ours does not get in the way."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            for name in ("model", "inputs", "outputs", "run", "order", "call"):
                self.add_module(name, nn.Linear(2, 2))

        def forward(self, x):
            return self.run(self.outputs(self.model(x)))

    adapter = Adapter(Odd().eval(), ["x"], None)
    adapter.call([torch.zeros(1, 2)])

    program = torch.export.export(adapter.module, (torch.zeros(1, 2),))

    assert "outputs.weight" in {spec.target for spec in program.graph_signature.input_specs}


def test_the_users_frames_are_shown(bench):
    """An exception in the user's code comes with its own lines."""
    bench.write(
        "net.py",
        """
        from torch import nn

        def build(size):
            return nn.Linear(size, table["missing"])

        table = {}

        class Bad(nn.Module):
            def forward(self, x):
                return x @ x
        """,
    )

    with pytest.raises(ModelError) as building:
        load_model(Model(entry="net.py:build", kwargs={"size": 3}))
    with pytest.raises(ModelError) as running:
        Adapter(load_model(Model(entry="net.py:Bad")), ["x"], None).call([torch.zeros(2, 3)])

    assert "KeyError: 'missing'" in building.value.what
    assert building.value.where == "net.py:5"
    assert "shapes (x 2x3)" in running.value.what
    assert "net.py:11 in forward: return x @ x" in running.value.what


def test_what_is_no_module_is_refused(bench):
    """A state dict, say, is no model."""
    bench.write("net.py", "def build():\n    return {}\nvalue = 3\n")

    with pytest.raises(ModelError, match=r"net.py:build returned a dict, no nn.Module"):
        load_model(Model(entry="net.py:build"))
    with pytest.raises(ModelError, match=r"net.py:value is a int, no callable"):
        load_model(Model(entry="net.py:value"))


def test_wrap_goes_around_the_model(bench):
    """`wrap` gets the model and is the model from then on."""
    bench.write(
        "net.py",
        """
        from torch import nn

        class Times(nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, x):
                return self.model(x) * 10
        """,
    )

    model = load_model(Model(entry="torch.nn.Identity", wrap="net.py:Times"))

    assert Adapter(model, ["x"], None).call([torch.ones(1)])["output"].item() == 10


def test_a_program_of_torch_export(bench):
    """A .pt2 file is a model."""
    torch.export.save(torch.export.export(nn.Linear(2, 2).eval(), (torch.zeros(1, 2),)), "m.pt2")

    model = load_model(Model(program="m.pt2"))

    assert Adapter(model, ["x"], None).call([torch.zeros(1, 2)])["output"].shape == (1, 2)


def test_a_program_takes_by_keyword_what_it_was_made_with(bench):
    """torch.export fixes which arguments are keywords."""

    class Net(nn.Module):
        def forward(self, x, y):
            return x - y

    x = torch.ones(2)
    torch.export.save(torch.export.export(Net(), (x,), {"y": x * 2}), "p.pt2")

    found = Adapter(load_model(Model(program="p.pt2")), ["x", "y"], None).call([x * 5, x])

    assert [item.tolist() for item in found.values()] == [[4.0, 4.0]]


def test_a_missing_package_names_the_extra(bench, monkeypatch):
    """Without transformers, a huggingface model says what to install."""
    bench.write("m/config.json", '{"architectures": ["BertModel"]}')
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(ModelError, match=r"onnxbuild\[huggingface\]"):
        load_model(Model(huggingface="m"))


def test_a_saved_decoder_gives_its_logits(bench):
    """A folder of transformers is a model; a decoder's cache of keys and values is no output."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).save_pretrained("gpt")

    model = load_model(Model(huggingface="gpt"))

    found = Adapter(model, ["input_ids"], None).call([torch.zeros(1, 4, dtype=torch.int64)])
    assert {name: tuple(value.shape) for name, value in found.items()} == {"logits": (1, 4, 20)}
