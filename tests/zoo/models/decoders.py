"""Decoders of text: attention, mixtures of experts, state spaces, with and without a cache."""

from __future__ import annotations

import torch
import transformers as hf
from seeded import SMALL, WIDE, seeded
from torch import nn

PLAIN = {**SMALL, "use_cache": False}
GROUPED = {**PLAIN, "num_key_value_heads": 2}


def gpt2() -> nn.Module:
    config = hf.GPT2Config(
        vocab_size=200, n_embd=64, n_layer=2, n_head=4, use_cache=False, initializer_range=WIDE
    )
    return seeded(lambda: hf.GPT2LMHeadModel(config))


def llama() -> nn.Module:
    return seeded(lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)))


def mistral() -> nn.Module:
    config = hf.MistralConfig(**GROUPED, sliding_window=8)
    return seeded(lambda: hf.MistralForCausalLM(config))


def qwen2() -> nn.Module:
    return seeded(lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)))


def qwen3() -> nn.Module:
    config = hf.Qwen3Config(**GROUPED, head_dim=16)
    return seeded(lambda: hf.Qwen3ForCausalLM(config))


def gemma2() -> nn.Module:
    config = hf.Gemma2Config(**GROUPED, head_dim=16, sliding_window=8)
    return seeded(lambda: hf.Gemma2ForCausalLM(config))


def phi() -> nn.Module:
    return seeded(lambda: hf.PhiForCausalLM(hf.PhiConfig(**PLAIN, pad_token_id=0)))


def gpt_neox() -> nn.Module:
    return seeded(lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**PLAIN)))


def opt() -> nn.Module:
    config = hf.OPTConfig(
        vocab_size=200,
        hidden_size=64,
        ffn_dim=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        word_embed_proj_dim=64,
        max_position_embeddings=128,
        init_std=WIDE,
        use_cache=False,
    )
    return seeded(lambda: hf.OPTForCausalLM(config))


def bloom() -> nn.Module:
    config = hf.BloomConfig(
        vocab_size=200, hidden_size=64, n_layer=2, n_head=4, initializer_range=WIDE, use_cache=False
    )
    return seeded(lambda: hf.BloomForCausalLM(config))


def falcon() -> nn.Module:
    config = hf.FalconConfig(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=WIDE,
        use_cache=False,
        alibi=False,
        new_decoder_architecture=False,
    )
    return seeded(lambda: hf.FalconForCausalLM(config))


def mixtral() -> nn.Module:
    config = hf.MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2)
    return seeded(lambda: hf.MixtralForCausalLM(config))


def qwen2_moe() -> nn.Module:
    config = hf.Qwen2MoeConfig(
        **GROUPED,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=64,
    )
    return seeded(lambda: hf.Qwen2MoeForCausalLM(config))


def mamba() -> nn.Module:
    config = hf.MambaConfig(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        state_size=8,
        initializer_range=WIDE,
        use_cache=False,
    )
    return seeded(lambda: hf.MambaForCausalLM(config))


def mamba2() -> nn.Module:
    config = hf.Mamba2Config(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        num_heads=8,
        head_dim=16,
        state_size=8,
        n_groups=1,
        chunk_size=8,
        initializer_range=WIDE,
        use_cache=False,
    )
    return seeded(lambda: hf.Mamba2ForCausalLM(config))


def rwkv() -> nn.Module:
    config = hf.RwkvConfig(
        vocab_size=200, hidden_size=64, num_hidden_layers=2, context_length=64, use_cache=False
    )
    return seeded(lambda: hf.RwkvForCausalLM(config))


class Cached(nn.Module):
    """A decoder whose keys and values are inputs and outputs, a pair for each of two layers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        key_0: torch.Tensor,
        value_0: torch.Tensor,
        key_1: torch.Tensor,
        value_1: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        cache = hf.DynamicCache([(key_0, value_0), (key_1, value_1)])
        out = self.model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        present = [
            part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)
        ]
        return (out.logits, *present)


def llama_cache() -> nn.Module:
    return seeded(lambda: Cached(llama()))


def gpt2_cache() -> nn.Module:
    return seeded(lambda: Cached(gpt2()))
