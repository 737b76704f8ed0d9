"""The MiniLM sentence encoder: BERT, mean pooling, unit length.

Weights and vocabulary come with a Python package, see `package`; nothing is downloaded.
"""

from __future__ import annotations

import os

import torch
from package import INSTALL, find_folder
from safetensors.torch import load_file
from torch import nn

HIDDEN = -10_000.0


class SentenceEncoder(nn.Module):
    """Sentences as points on the unit sphere: near when they mean the same."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Give embeddings ``[batch, hidden]`` for token numbers and a mask ``[batch, sequence]``."""
        # Added to the scores of hidden tokens. Half precision can hold it, unlike the library's own value.
        hidden = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * HIDDEN
        tokens = self.encoder(input_ids=input_ids, attention_mask=hidden)[0]
        weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
        mean = (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=1)


def build() -> SentenceEncoder:
    """Make the encoder with its published weights."""
    folder = find_folder()
    try:
        from transformers import BertConfig, BertModel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the MiniLM model needs transformers: {INSTALL}", name=error.name
        ) from error
    config = BertConfig.from_pretrained(folder, local_files_only=True)
    # Eager attention is plain matrix products, which every exporter and quantizer knows.
    encoder = BertModel._from_config(config, attn_implementation="eager", add_pooling_layer=False)
    weights = load_file(os.path.join(folder, "model.safetensors"))
    unused = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    encoder.load_state_dict({name: weights[name] for name in weights.keys() - unused})
    return SentenceEncoder(encoder).eval()
