"""What the families share: seeds, and weights with the statistics of trained ones.

A model of two layers with untrained weights says little of 8-bit integers: batch normalizations that have
seen nothing, and layers that hardly change what goes through them. So weights are drawn as wide as trained
ones are for their fan-in, and statistics are measured on seeded noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)
WIDE = 0.07
"""`initializer_range` for 64 features, as 0.02 is for the 768 of published models."""

SMALL: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "initializer_range": WIDE,
}
"""The size of most models here, in the words of most configurations."""


def seeded(make: Callable[[], Model]) -> Model:
    """Make a model for inference, with the same weights each time."""
    torch.manual_seed(0)
    return make().eval()


def settled(model: Model, *shapes: Sequence[int]) -> Model:
    """Measure the statistics of all batch normalizations on seeded noise, and give them varied scales."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(*(torch.randn(*shape) for shape in shapes))
    return model.eval()
