"""The handwritten digits that ship with scikit-learn: real images, no download.

1,797 images of 8 x 8 pixels with values 0 to 16. A fixed permutation splits them: the first
1,437 train and calibrate, the other 360 are held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

HELD_OUT = 360
BATCH = 60

Batch = dict[str, NDArray[np.float32] | NDArray[np.int64]]


def split() -> tuple[Batch, Batch]:
    """Give the training and the held-out images, each ``{"image": [n, 1, 8, 8], "label": [n]}``."""
    # Here, since the metric needs none of it and importing it takes a second.
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(20).permutation(len(labels))
    images = (pixels[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = labels[order].astype(np.int64)
    return (
        {"image": images[:-HELD_OUT], "label": labels[:-HELD_OUT]},
        {"image": images[-HELD_OUT:], "label": labels[-HELD_OUT:]},
    )


def calibration(batch: int = 1) -> Iterator[Batch]:
    """Yield training images, for the ranges of activations."""
    training, _ = split()
    yield from _batches(training, batch)


def evaluation(batch: int = BATCH) -> Iterator[Batch]:
    """Yield held-out images with their labels."""
    _, held_out = split()
    yield from _batches(held_out, batch)


def accuracy(pairs: Iterable[tuple[Mapping[str, NDArray[np.float32]], Batch]]) -> float:
    """Give the share of images whose largest logit is that of the label."""
    right = total = 0
    for outputs, batch in pairs:
        guesses = outputs["logits"].argmax(axis=1)
        right += int((guesses == batch["label"]).sum())
        total += len(guesses)
    return right / total


def _batches(images: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(images["label"]), size):
        yield {name: values[start : start + size] for name, values in images.items()}
