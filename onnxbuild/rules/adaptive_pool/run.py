"""Compute adaptive pooling from the sizes, with operators that both exporters write at every size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from onnxbuild.core.values import build
from onnxbuild.rules.adaptive_pool.spec import AdaptivePool
from onnxbuild.rules.calls import replace_calls
from onnxbuild.rules.windows import average, maximum


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace adaptive pooling in `model`; give it and where it was."""
    build(AdaptivePool, options)
    return replace_calls(model, TABLE, run)


def _pool(
    reduce: Callable[[torch.Tensor, Sequence[Any]], torch.Tensor], axes: int
) -> Callable[..., Any]:
    def pooled(input: torch.Tensor, output_size: Any, return_indices: bool = False) -> Any:  # noqa: A002
        if return_indices:
            return NotImplemented
        sizes = (
            tuple(output_size) if isinstance(output_size, list | tuple) else (output_size,) * axes
        )
        if not all(size is None or isinstance(size, int) for size in sizes) or set(sizes) == {1}:
            return NotImplemented
        return reduce(input, sizes)

    return pooled


TABLE = {
    functional.adaptive_avg_pool1d: _pool(average, 1),
    functional.adaptive_avg_pool2d: _pool(average, 2),
    functional.adaptive_avg_pool3d: _pool(average, 3),
    functional.adaptive_max_pool1d: _pool(maximum, 1),
    functional.adaptive_max_pool2d: _pool(maximum, 2),
    functional.adaptive_max_pool3d: _pool(maximum, 3),
}
"""Torch hands on the boolean dispatch of maximum pooling itself, whichever of its two functions runs."""
