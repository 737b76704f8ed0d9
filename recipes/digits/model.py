"""A small convolutional network for 8 x 8 grey images of handwritten digits."""

from __future__ import annotations

import torch
from torch import nn


class Swish(nn.Module):
    """``x * sigmoid(x)``, spelled out as older code does. The recipe replaces it by `torch.nn.SiLU`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)


class Block(nn.Sequential):
    """A 3 x 3 convolution, batch normalization across devices, and an activation."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.SyncBatchNorm(channels_out),
            Swish(),
        )


class DigitsNet(nn.Module):
    """Two resolutions of two blocks each, then the mean over the image and a linear layer."""

    def __init__(self, width: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(Block(1, width), Block(width, width))
        self.pool = nn.MaxPool2d(2)
        self.body = nn.Sequential(Block(width, 2 * width), Block(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Give logits ``[n, classes]`` for images ``[n, 1, 8, 8]`` with values in [0, 1]."""
        features = self.body(self.pool(self.stem(image)))
        return self.head(features.mean(dim=(2, 3)))


def build(width: int = 32) -> DigitsNet:
    """Make the network; its weights come from ``weights.safetensors``."""
    return DigitsNet(width)
