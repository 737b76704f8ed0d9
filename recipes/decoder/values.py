"""Values of inputs that follow from the sizes of dimensions."""

import numpy as np


def positions(shape, _generator, *, past):
    """Positions go on where the cache ends."""
    return np.broadcast_to(past + np.arange(shape[1]), shape)
