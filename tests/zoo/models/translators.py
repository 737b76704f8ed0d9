"""Encoder and decoder in one."""

from __future__ import annotations

import transformers as hf
from seeded import WIDE, seeded
from torch import nn


def t5() -> nn.Module:
    config = hf.T5Config(
        vocab_size=200,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        use_cache=False,
        decoder_start_token_id=0,
    )
    return seeded(lambda: hf.T5ForConditionalGeneration(config))


def bart() -> nn.Module:
    config = hf.BartConfig(
        vocab_size=200,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=128,
        init_std=WIDE,
        use_cache=False,
    )
    return seeded(lambda: hf.BartForConditionalGeneration(config))


def marian() -> nn.Module:
    config = hf.MarianConfig(
        vocab_size=200,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=128,
        pad_token_id=199,
        decoder_start_token_id=199,
        init_std=WIDE,
        use_cache=False,
    )
    return seeded(lambda: hf.MarianMTModel(config))
