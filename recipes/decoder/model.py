"""A tiny decoder of the Llama kind, with random weights that are the same in each process."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def build(layers=2, width=64, words=256):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.05,
    )
    return LlamaForCausalLM(config)
