"""Encoders of text."""

from __future__ import annotations

import torch
import transformers as hf
from seeded import SMALL, WIDE, seeded
from torch import nn


def bert() -> nn.Module:
    return seeded(lambda: hf.BertModel(hf.BertConfig(**SMALL)))


def roberta() -> nn.Module:
    config = hf.RobertaConfig(**SMALL, max_position_embeddings=130, num_labels=5)
    return seeded(lambda: hf.RobertaForSequenceClassification(config))


def deberta_v2() -> nn.Module:
    config = hf.DebertaV2Config(
        **SMALL,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
    )
    return seeded(lambda: hf.DebertaV2Model(config))


def albert() -> nn.Module:
    config = hf.AlbertConfig(**SMALL, embedding_size=32)
    return seeded(lambda: hf.AlbertForMaskedLM(config))


def mpnet() -> nn.Module:
    return seeded(lambda: hf.MPNetModel(hf.MPNetConfig(**SMALL)))


def electra() -> nn.Module:
    config = hf.ElectraConfig(**SMALL, embedding_size=32)
    return seeded(lambda: hf.ElectraForTokenClassification(config))


def distilbert() -> nn.Module:
    config = hf.DistilBertConfig(
        vocab_size=200, dim=64, n_layers=2, n_heads=4, hidden_dim=128, initializer_range=WIDE
    )
    return seeded(lambda: hf.DistilBertForQuestionAnswering(config))


def modernbert() -> nn.Module:
    config = hf.ModernBertConfig(
        **SMALL,
        local_attention=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    return seeded(lambda: hf.ModernBertModel(config))


def longformer() -> nn.Module:
    config = hf.LongformerConfig(**SMALL, attention_window=8, max_position_embeddings=130)
    return seeded(lambda: hf.LongformerModel(config))


def fnet() -> nn.Module:
    sizes = {key: value for key, value in SMALL.items() if key != "num_attention_heads"}
    return seeded(lambda: hf.FNetModel(hf.FNetConfig(**sizes)))


def convbert() -> nn.Module:
    return seeded(lambda: hf.ConvBertModel(hf.ConvBertConfig(**SMALL, embedding_size=64)))


def xlnet() -> nn.Module:
    return seeded(XLNet)


class XLNet(nn.Module):
    """Attention with relative positions, both ways."""

    def __init__(self) -> None:
        super().__init__()
        config = hf.XLNetConfig(
            vocab_size=200, d_model=64, n_layer=2, n_head=4, d_inner=128, initializer_range=WIDE
        )
        self.model = hf.XLNetModel(config)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def xlm_roberta_torch() -> nn.Module:
    """Give the encoder that PyTorch itself has, with a padding mask."""
    return seeded(_TorchEncoder)


class _TorchEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 64)
        self.position = nn.Parameter(torch.randn(128, 64) * 0.5)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(64, 7)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        padding = tokens == 0
        hidden = self.embedding(tokens) + self.position[: tokens.shape[1]]
        hidden = self.encoder(hidden, src_key_padding_mask=padding)
        weights = (~padding).unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return self.head(mean)
