"""What arguments are made of several tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypedDict

import pytest
import torch
from torch import Tensor, nn

from onnxbuild.errors import ModelError
from onnxbuild.steps.model.adapter import Adapter

pytestmark = pytest.mark.e2e


@dataclasses.dataclass
class Batch:
    dense: Tensor
    sparse: list[Tensor]
    mask: Tensor | None = None


class Pair(NamedTuple):
    first: Tensor
    second: Tensor | None = None


class Fields(TypedDict, total=False):
    a: Tensor
    b: Tensor


class Plain:  # noqa: PLW1641 - compared, and in no set
    """No dataclass, and made like one."""

    def __init__(self, x: Tensor, pair: tuple[Tensor, Tensor] | None = None):
        self.x, self.pair = x, pair

    def __eq__(self, other):
        return (self.x, self.pair) == (other.x, other.pair)


def given(annotation: Any, *names: str, **constants: Any) -> Any:
    """Give what a parameter of this annotation gets for inputs of these names; the tensors are numbers."""

    class Net(nn.Module):
        def forward(self, value, other=None):
            self.got = value
            return torch.zeros(1)

    if annotation is not None:
        Net.forward.__annotations__["value"] = annotation
    model = Net()
    adapter = Adapter(model, names, None, constants)
    adapter.call([torch.tensor(float(number)) for number in range(len(names))])
    return model.got


@pytest.mark.parametrize(
    ("annotation", "names", "wanted"),
    [
        (None, ["value.0", "value.1"], (0, 1)),
        (None, ["value.b", "value.a"], {"b": 0, "a": 1}),
        (None, ["value.0.key", "value.0.value"], ({"key": 0, "value": 1},)),
        (Any, ["value.0"], (0,)),
        (list, ["value.1", "value.0"], [1, 0]),
        (list[Tensor], ["value.0", "value.1"], [0, 1]),
        (Sequence[Tensor], ["value.0"], [0]),
        (list[tuple[Tensor, Tensor]] | None, ["value.0.0", "value.0.1"], [(0, 1)]),
        (tuple[Tensor, ...], ["value.0", "value.1", "value.2"], (0, 1, 2)),
        (tuple[Tensor, Tensor | None, Tensor], ["value.0", "value.2"], (0, None, 1)),
        (tuple[Tensor, Tensor | None], ["value.0"], (0, None)),
        (dict[str, list[Tensor]], ["value.x.0", "value.y.0"], {"x": [0], "y": [1]}),
        (dict[int, Tensor], ["value.3", "value.5"], {3: 0, 5: 1}),
        (Mapping[str, Tensor], ["value.x"], {"x": 0}),
        (Tensor | dict[str, Tensor], ["value.x"], {"x": 0}),
        (Batch, ["value.sparse.0", "value.dense"], Batch(1, [0])),
        (Batch | None, ["value.dense", "value.sparse.0", "value.mask"], Batch(0, [1], 2)),
        (Annotated[Pair, "note"], ["value.first"], Pair(0)),
        (Pair, ["value.0", "value.1"], Pair(0, 1)),
        (Fields, ["value.b"], {"b": 0}),
        (Plain, ["value.x", "value.pair.0", "value.pair.1"], Plain(0, (1, 2))),
        ("NoSuchName", ["value.0"], (0,)),
    ],
)  # fmt: skip
def test_an_argument_is_made_as_it_is_annotated(annotation, names, wanted):
    """Numbers are positions, other parts keys and fields; what may be None can be left out."""
    assert given(annotation, *names) == wanted


def test_without_a_parameter_of_that_name_it_goes_by_order():
    """As plain inputs do."""
    assert given(list[Tensor], "batch.0", "batch.1") == [0, 1]


def test_one_annotation_that_cannot_be_resolved_spoils_no_other():
    """What stands under `if TYPE_CHECKING:` is nowhere when the model runs."""

    class Net(nn.Module):
        def forward(self, first: NoSuchName, second: Batch):  # noqa: F821
            self.got = (first, second)
            return torch.zeros(1)

    model = Net()
    adapter = Adapter(model, ["first.0", "second.dense", "second.sparse.0"], None)
    adapter.call([torch.tensor(float(number)) for number in range(3)])

    assert model.got == ((0,), Batch(1, [2]))


def test_constants_are_passed_as_they_are():
    """Also inside of an argument."""

    class Net(nn.Module):
        def forward(self, x, flag=False, *, options: dict[str, Any] | None = None):
            self.got = (flag, options)
            return x

    model = Net()
    adapter = Adapter(model, ["x", "options.y"], None, {"flag": True, "options.mode": "sum"})

    adapter.call([torch.zeros(1), torch.ones(1)])

    assert model.got == (True, {"y": 1, "mode": "sum"})
    assert adapter.mapping() == "x, options=(options.y, options.mode='sum'), flag=True"
    with pytest.raises(ModelError, match="no parameter 'flags' for the constant") as caught:
        Adapter(model, ["x"], None, {"flags": True})
    assert caught.value.hint == "did you mean 'flag'?"


@pytest.mark.parametrize(
    ("annotation", "names", "what", "hint"),
    [
        (Batch, ["value.dense"], "needs sparse", "add value.sparse"),
        (Batch, ["value.dens", "value.sparse.0"], "has no 'dens'", "did you mean 'dense'"),
        (list[Tensor], ["value.0", "value.2"], "its part 1 is missing", "add value.1"),
        (list[Tensor], ["value.x"], "whose parts are numbers", "value.0"),
        (tuple[Tensor], ["value.0", "value.1"], "has 1 parts, and no 1", ""),
        (dict[int, Tensor], ["value.x"], "keys of 'value' are numbers", ""),
        (Plain, ["value.y"], "has no 'y'", "it has: x, pair"),
        (None, ["value", "value.x"], "cannot have parts too", "name all its parts"),
    ],
)  # fmt: skip
def test_wrong_parts_are_said(annotation, names, what, hint):
    """Before the model fails on them."""
    with pytest.raises(ModelError, match=what) as caught:
        given(annotation, *names)

    assert hint in caught.value.hint


def decoder(kind="Llama", **more):
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes, **more)
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def test_a_cache_goes_in_and_comes_out():
    """What one step gives is what the next one takes, under another name; both together are the whole."""
    model = decoder()
    parts = [f"past_key_values.{layer}.{name}" for layer in (0, 1) for name in ("key", "value")]
    renamed = ["logits", *(part.replace("past_key_values", "present") for part in parts)]
    adapter = Adapter(model, ["input_ids", *parts], None)
    ids = torch.arange(7)[None]
    empty = [torch.zeros(1, 1, 0, 8)] * 4

    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        first = adapter.call([ids[:, :4], *empty])
        _, *cache = first.values()
        second = adapter.call([ids[:, 4:], *cache])

    assert "use_cache=True" in adapter.mapping()
    assert list(first) == renamed
    assert first["present.1.value"].shape == (1, 1, 4, 8)
    torch.testing.assert_close(torch.cat([first["logits"], second["logits"]], 1), whole)


def test_a_sliding_window_keeps_all_that_it_is_given():
    """The mask hides what is older: the two steps give what the whole gives, beyond the window too."""
    model = decoder("Mistral", sliding_window=3)
    parts = [f"past_key_values.{layer}.{name}" for layer in (0, 1) for name in ("key", "value")]
    adapter = Adapter(model, ["input_ids", *parts], None)
    ids = torch.arange(9)[None]

    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        first = adapter.call([ids[:, :6], *[torch.zeros(1, 1, 0, 8)] * 4])
        second = adapter.call([ids[:, 6:], *list(first.values())[1:]])

    assert second["present.0.key"].shape == (1, 1, 9, 8)
    torch.testing.assert_close(torch.cat([first["logits"], second["logits"]], 1), whole)


def test_an_encoder_decoder_has_caches_of_both():
    """By layer, `decoder` its own and `encoder` the encoder's."""
    transformers = pytest.importorskip("transformers")
    config = transformers.T5Config(
        vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config).eval()
    parts = [
        f"past_key_values.0.{side}.{name}"
        for side in ("decoder", "encoder")
        for name in ("key", "value")
    ]
    inputs = ["decoder_input_ids", "encoder_outputs.0", *parts]
    adapter = Adapter(model, inputs, ["logits", "a", "b", "c", "d", "encoded"])
    ids, encoded = torch.zeros(1, 2, dtype=torch.int64), torch.randn(1, 5, 8)
    cache = [torch.randn(1, 2, size, 4) for size in (3, 3, 5, 5)]

    with torch.no_grad():
        found = adapter.call([ids, encoded, *cache])

    assert [tuple(value.shape) for value in found.values()][1:5] == [
        (1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["past_key_values.0.key"], "layer 0 of 'past_key_values' has key, and a cache"),
        (["past_key_values.1.key", "past_key_values.1.value"], "they count from 0"),
        (["past_key_values.key"], "whose layers are numbers"),
    ],
)
def test_wrong_caches_are_said(names, what):
    """With the names that are wanted."""
    with pytest.raises(ModelError, match=what):
        Adapter(decoder(), ["input_ids", *names], None)
