"""Models that take and give more than a tensor, and sizes that follow from others."""

from __future__ import annotations

import pytest
from recipe_bench import build

pytestmark = pytest.mark.e2e

RANKING = """
    import dataclasses
    import torch
    from torch import nn, Tensor

    @dataclasses.dataclass
    class Features:
        dense: Tensor
        sparse: dict[str, list[Tensor]]
        weight: Tensor | None = None

    class Ranking(nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = nn.ModuleDict({name: nn.Embedding(10, 4) for name in ("user", "item")})
            self.dense = nn.Linear(3, 4)
            self.top = nn.Linear(4, 1)

        def forward(self, batch: Features, extras: list[tuple[Tensor, Tensor]], scale: float = 1.0, mode="sum"):
            parts = [self.dense(batch.dense)]
            for name, tables in batch.sparse.items():
                parts += [self.tables[name](ids).mean(1) for ids in tables]
            for left, right in extras:
                parts.append(left * right)
            total = torch.stack(parts).sum(0) if mode == "sum" else torch.stack(parts).mean(0)
            if batch.weight is not None:
                total = total * batch.weight
            return {"score": self.top(total) * scale, "parts": tuple(parts[:2]), "nothing": None}

    def build():
        torch.manual_seed(0)
        return Ranking()
"""

RANKING_RECIPE = """
    name: ranking
    model: {entry: "model.py:build"}
    inputs:
      batch.dense: [batch, 3]
      batch.sparse: {expand: "{user,item}.{0..1}", shape: [batch, bag], dtype: int64, range: [0, 10]}
      extras: {expand: "0.{0..1}", shape: [batch, 4]}
      scale: {value: 2.0}
      mode: {value: mean}
    dims: {batch: {min: 1, max: 5}, bag: {min: 1, max: 4}}
"""


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_nested_arguments_and_outputs_are_flat_in_the_graph(bench, exporter):
    """Named by their paths; constants are in the graph, and what is None is nowhere."""
    bench.write("model.py", RANKING)

    built = build(bench, RANKING_RECIPE, f"export.exporter={exporter}")

    assert built.exported().shapes() == {
        "batch.dense": ["batch", 3],
        **{f"batch.sparse.{name}.{i}": ["batch", "bag"] for name in ("user", "item") for i in (0, 1)},
        "extras.0.0": ["batch", 4],
        "extras.0.1": ["batch", 4],
        "score": ["batch", 1],
        "parts.0": ["batch", 4],
        "parts.1": ["batch", 4],
    }  # fmt: skip
    assert built.worst() < 1e-5
    weighted = build(
        bench, RANKING_RECIPE, "inputs.batch.weight=[batch,1]", "inputs.mode.value=sum"
    )
    assert weighted.worst() < 1e-5
    assert "batch.weight" in weighted.exported().shapes()


DECODER = """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    def llama():
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(
            vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64))

    def gpt2():
        torch.manual_seed(0)
        return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=64))
"""

DECODER_RECIPE = """
    name: decoder
    model: {entry: "model.py:NAME"}
    inputs:
      input_ids: {shape: [batch, sequence], dtype: int64, range: [0, 20]}
      attention_mask: {shape: [batch, past + sequence], dtype: int64, fill: 1}
      past_key_values: {expand: "{0..1}.{key,value}", shape: [batch, HEADS, past, 8]}
    dims:
      batch: {min: 1, max: 3}
      sequence: {min: 1, max: 6}
      past: {min: 0, max: 8}
    outputs:
      logits: {feeds: input_ids}
      present: {expand: "{0..1}.{key,value}", feeds: past_key_values}
    dynamic_axes:
      present: {expand: "{0..1}.{key,value}", 0: batch, 2: past + sequence}
    verify: {export: {generate: 5}}
"""


def decoder_recipe(name: str) -> str:
    return DECODER_RECIPE.replace("NAME", name).replace("HEADS", "1" if name == "llama" else "2")


@pytest.mark.parametrize(
    ("name", "exporter"), [("llama", "dynamo"), ("llama", "torchscript"), ("gpt2", "dynamo")]
)
def test_a_decoder_with_its_cache(bench, name, exporter):
    """Right at all corners, also with nothing in the cache; and it writes PyTorch's tokens, from nothing on."""
    pytest.importorskip("transformers")
    bench.write("model.py", DECODER)

    built = build(bench, decoder_recipe(name), f"export.exporter={exporter}")

    shapes = built.exported().shapes()
    assert shapes["attention_mask"] == ["batch", "past + sequence"]
    assert shapes["past_key_values.1.value"][2] == "past"
    assert shapes["present.1.value"][2] == "past + sequence"
    visited = [shape["sizes"] for shape in built.json("samples", "shapes")]
    assert {sizes["past"] for sizes in visited} >= {0, 2, 8}
    assert built.worst() < 1e-5
    wanted = built.json("5 tokens of the reference", "tokens")
    assert wanted["start"] == {"batch": 2, "sequence": 2, "past": 0}
    assert [len(row) for row in wanted["tokens"]] == [5, 5]
    assert built.json("5 tokens of export", "tokens") == wanted


def test_a_decoder_without_a_cache_writes_the_same(bench):
    """With its keys and values left out by name; what it writes is what it writes with them."""
    pytest.importorskip("transformers")
    bench.write("model.py", DECODER)
    recipe = """
        name: decoder
        model: {entry: "model.py:gpt2"}
        inputs:
          input_ids: {shape: [batch, sequence], dtype: int64, range: [0, 20]}
        outputs: {logits: {feeds: input_ids}}
        verify: {export: {generate: 5}}
    """

    built = build(bench, recipe, "export.exporter=torchscript")

    assert list(built.exported().shapes()) == ["input_ids", "logits"]
    wanted = built.json("5 tokens of the reference", "tokens")["tokens"]
    assert built.json("5 tokens of export", "tokens")["tokens"] == wanted


SIZES = """
    import torch
    from torch import nn

    class Sizes(nn.Module):
        def forward(self, x, pairs, half):
            return x.repeat(1, 2) + pairs, half.sum() + x[:, ::2]
"""

SIZES_RECIPE = """
    name: sizes
    model: {entry: "model.py:Sizes"}
    inputs: {x: [2, k], pairs: [2, 2*k], half: [k // 2]}
    dims: {k: {min: 4, max: 12, multiple_of: 2}}
    outputs: [both, first]
    dynamic_axes: {both: {1: k*2}, first: {1: k // 2}}
"""


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_sizes_that_follow_from_one(bench, exporter):
    """Multiples and halves; the declared claim of an output is checked at all corners."""
    bench.write("model.py", SIZES)

    built = build(bench, SIZES_RECIPE, f"export.exporter={exporter}")

    assert built.exported().shapes() == {
        "x": [2, "k"],
        "pairs": [2, "2*k"],
        "half": ["k // 2"],
        "both": [2, "k*2"],
        "first": [2, "k // 2"],
    }
    assert built.worst() < 1e-5


def test_a_wrong_claim_about_an_output_is_refused(bench):
    """With the sizes at which it does not hold."""
    from onnxbuild.errors import ExportError

    bench.write("model.py", SIZES)

    with pytest.raises(
        ExportError, match="declared 'k - 1', but the model gives 8 there where k is 4"
    ):
        build(bench, SIZES_RECIPE, "dynamic_axes.both.1='k-1'")
