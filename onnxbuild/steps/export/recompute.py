"""Activations that a model computes again for gradients, which no graph has: traced as the plain call that they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.checkpoint import CheckpointFunction


@contextmanager
def called_plainly() -> Iterator[None]:
    """Have `torch.utils.checkpoint` call what it is given inside of the block.

    Measured with torch 2.13: TorchScript cannot trace its reentrant kind, and says "unordered_map::at".
    """

    def apply(run: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        del preserve_rng_state
        return run(*args)

    CheckpointFunction.apply = apply
    try:
        yield
    finally:
        # What it inherits is left.
        del CheckpointFunction.apply
