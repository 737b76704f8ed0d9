"""ESPCN: super-resolution by a sub-pixel convolution (Shi and others, 2016).

Three convolutions look at the small image, a fourth gives ``factor ** 2`` values for each pixel,
and these become the pixels of the large one.
"""

from __future__ import annotations

import math

import torch
from torch import nn


class SuperResolution(nn.Module):
    """Makes the luminance of an image `factor` times as wide and as high."""

    def __init__(self, factor: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, factor**2, 3, padding=1)
        self.relu = nn.ReLU()
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Give ``[batch, 1, factor * height, factor * width]`` for ``[batch, 1, height, width]``."""
        features = self.relu(self.conv1(image))
        features = self.relu(self.conv2(features))
        features = self.relu(self.conv3(features))
        return self.shuffle(self.conv4(features))


def build(factor: int = 3, seed: int = 0) -> SuperResolution:
    """Make the network with seeded orthogonal weights, as it is initialized for training."""
    generator = torch.Generator().manual_seed(seed)
    model = SuperResolution(factor)
    gain = math.sqrt(2)
    for layer in (model.conv1, model.conv2, model.conv3):
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.orthogonal_(model.conv4.weight, generator=generator)
    for layer in (model.conv1, model.conv2, model.conv3, model.conv4):
        nn.init.uniform_(layer.bias, -0.05, 0.05, generator=generator)
    return model.eval()
