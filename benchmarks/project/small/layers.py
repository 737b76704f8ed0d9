"""Layers that the model imports."""

from __future__ import annotations

import torch
from torch import nn

GAIN = 1.5


class Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, slope: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.act = nn.LeakyReLU(slope)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.conv(x)) * GAIN
