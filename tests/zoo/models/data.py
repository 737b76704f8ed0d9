"""Values that the recipes ask for: masks, edges, and calibration data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mask(shape: Sequence[int], generator: np.random.Generator) -> NDArray[np.int64]:
    """Texts of different lengths, padded at the end."""
    lengths = generator.integers(1, shape[1] + 1, (shape[0], 1))
    lengths[0] = shape[1]
    return (np.arange(shape[1]) < lengths).astype(np.int64)


def noise(shapes: Mapping[str, Sequence[int]], count: int = 8) -> Iterator[dict[str, NDArray[Any]]]:
    """Normal noise for each input, as the examples have it."""
    generator = np.random.default_rng(7)
    for _ in range(count):
        yield {
            name: generator.standard_normal(shape, dtype=np.float32)
            for name, shape in shapes.items()
        }
