"""Mixtures of experts, computed densely."""

from __future__ import annotations

import pytest
import torch

from onnxbuild.rules.dense_experts.run import apply

pytestmark = pytest.mark.e2e


@pytest.mark.filterwarnings("ignore")
def test_all_experts_weighed_give_what_the_chosen_ones_give():
    """The experts of a mixture in `transformers` give the same numbers, whichever are chosen for how many tokens."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_local_experts=4,
        num_attention_heads=2, num_key_value_heads=1, num_experts_per_tok=2, initializer_range=0.2,
        use_cache=False,
    )  # fmt: skip
    model = transformers.MixtralForCausalLM(config).eval()
    samples = [torch.randint(0, 20, (2, length)) for length in (1, 7)]
    with torch.no_grad():
        before = [model(tokens).logits for tokens in samples]

        changed, paths = apply(model, {}, lambda _: None)
        after = [changed(tokens).logits for tokens in samples]

    assert paths == ["model.layers.0.mlp.experts"]
    for was, now in zip(before, after, strict=True):
        assert torch.allclose(was, now, atol=1e-5)


def test_what_is_no_mixture_is_left_alone():
    """A model without such experts is not touched, and no place is named."""
    model = torch.nn.Linear(2, 2)

    assert apply(model, {}, lambda _: None) == (model, [])
    assert "forward" not in vars(model)
