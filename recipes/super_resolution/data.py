"""Small grey images for calibration: seeded gradients, discs and noise, values in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def calibration(count: int = 16, size: int = 64, seed: int = 3) -> Iterator[dict[str, Floats]]:
    """Yield `count` images."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield {"input": images((1, 1, size, size), generator)}


def images(shape: Sequence[int], generator: np.random.Generator) -> Floats:
    """Draw images ``[batch, 1, height, width]``: a slope of light, a disc, some grain."""
    batch, _, height, width = shape
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    drawn = []
    for _ in range(batch):
        down, across, top, left, radius = generator.random(5)
        slope = (down * rows + across * columns) / 2
        disc = 0.4 * ((rows - top) ** 2 + (columns - left) ** 2 < (radius / 2) ** 2)
        grain = 0.1 * generator.random((height, width))
        drawn.append(slope + disc + grain)
    return np.clip(np.stack(drawn)[:, None], 0, 1).astype(np.float32)
