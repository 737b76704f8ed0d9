"""Seeded images for calibration: smooth noise, since the weights are random as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from model import noise
from numpy.typing import NDArray

SIZES = (32, 64, 128, 224)


def calibration(count: int = 8, seed: int = 1) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield `count` batches of two images, of all sizes that the model serves."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        size = SIZES[number % len(SIZES)]
        yield {"image": noise((2, 3, size, size), generator).numpy()}


def images(shape: Sequence[int], generator: np.random.Generator) -> NDArray[np.float32]:
    """Give images of any shape, for verification."""
    seeded = torch.Generator().manual_seed(int(generator.integers(2**31)))
    return noise(tuple(shape), seeded).numpy()
