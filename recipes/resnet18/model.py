"""ResNet-18 in plain PyTorch, with seeded random weights.

The weights are not trained, so the statistics of the batch normalizations are measured once on
seeded noise: activations stay in the range of a trained network's, and outputs differ between
images, which makes comparisons worth something.
"""

from __future__ import annotations

import torch
from torch import nn

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of each of the four stages; each has two blocks."""


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """The network of He and others (2015), for images of any size from 32 x 32."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
        )
        blocks: list[Block] = []
        channels_in = 64
        for channels, stride in STAGES:
            blocks += [Block(channels_in, channels, stride), Block(channels, channels, 1)]
            channels_in = channels
        self.body = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(512, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Give logits ``[batch, classes]`` for normalized images ``[batch, 3, height, width]``."""
        return self.head(self.pool(self.body(self.stem(image))).flatten(1))


def build(seed: int = 0, classes: int = 1000) -> ResNet18:
    """Make the network; the same `seed` gives the same weights."""
    generator = torch.Generator().manual_seed(seed)
    model = ResNet18(classes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
            module.momentum = None  # the plain mean over all batches
    # Logits spread like a trained classifier's.
    nn.init.normal_(model.head.weight, std=0.1, generator=generator)
    nn.init.zeros_(model.head.bias)
    model.train()
    with torch.no_grad():
        for size in (64, 128, 192):
            model(noise((4, 3, size, size), generator))
    return model.eval()


def noise(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Make images in [-2, 2] whose pixels go with their neighbours, each with a tint of its own."""
    batch, channels, height, width = shape
    coarse = torch.rand((batch, channels, 5, 5), generator=generator)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    fine = torch.rand(shape, generator=generator)
    tint = torch.rand((batch, channels, 1, 1), generator=generator)
    return 2 * smooth + fine + tint - 2
