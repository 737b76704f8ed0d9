"""A network that imports a module, reads a JSON file and uses an installed package."""

from __future__ import annotations

import json
import os

import onnxbuild_bench_scale
import torch
from layers import Block
from torch import nn

SIZES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sizes.json")


class Net(nn.Module):
    def __init__(self, slope: float, temperature: float) -> None:
        super().__init__()
        self.first = Block(1, 16, slope)
        self.second = Block(16, 32, slope)
        self.head = nn.Linear(32, 10)
        self.temperature = temperature

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.second(self.first(image)).mean(dim=(2, 3))
        return self.head(features) / self.temperature * onnxbuild_bench_scale.SCALE


def build(slope: float = 0.1) -> Net:
    with open(SIZES, encoding="utf-8") as file:
        sizes = json.load(file)
    return Net(slope, sizes["temperature"])
