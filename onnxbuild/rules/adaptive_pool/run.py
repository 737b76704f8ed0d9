"""Compute adaptive pooling from the sizes, with operators that both exporters write at every size.

Output i of o covers the inputs from ``floor(i n / o)`` to ``ceil((i + 1) n / o)``, the end not included, one
axis after the other. The windows are gathered, which takes n + 2 o values a row, and reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from onnxbuild.core.values import build
from onnxbuild.rules.adaptive_pool.spec import AdaptivePool
from onnxbuild.rules.calls import replace_calls


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace adaptive pooling in `model`; give it and where it was."""
    build(AdaptivePool, options)
    return replace_calls(model, TABLE, run)


def average(value: torch.Tensor, sizes: Sequence[int | None]) -> torch.Tensor:
    """Average over the windows of the last axes, one for each of `sizes`; None leaves an axis."""
    for axis, size in enumerate(sizes, start=-len(sizes)):
        if size is None:
            continue
        if size == 1:
            value = value.mean(axis, keepdim=True)
            continue
        windows, inside = _windows(value, axis, size)
        # Not times zero: what is outside may be infinite.
        total = torch.where(inside, windows, torch.zeros_like(windows)).sum(axis)
        value = total / inside.to(value.dtype).sum(1)
    return value


def maximum(value: torch.Tensor, sizes: Sequence[int | None]) -> torch.Tensor:
    """Take the greatest of each window of the last axes, one for each of `sizes`; None leaves an axis."""
    for axis, size in enumerate(sizes, start=-len(sizes)):
        if size == 1:
            value = value.amax(axis, keepdim=True)
        elif size is not None:
            # What is beyond the end of a window is its last value once more.
            value = _windows(value, axis, size)[0].amax(axis)
    return value


def _windows(value: torch.Tensor, axis: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the windows as one more axis after `axis`, which stays `axis` from the end, and what in them counts."""
    length = value.shape[axis]
    index = torch.arange(size, device=value.device)[:, None]
    start = (index * length) // size
    end = ((index + 1) * length + size - 1) // size
    offset = torch.arange(length // size + 2, device=value.device)[None, :]
    at = torch.minimum(start + offset, end - 1)
    rows = torch.index_select(value, axis, at.reshape(-1))
    before = [value.shape[position] for position in range(value.dim() + axis)]
    after = [value.shape[position] for position in range(value.dim() + axis + 1, value.dim())]
    # The windows' axis comes before what follows, so that `axis` counted from the end is it.
    windows = rows.reshape(*before, size, -1, *after)
    inside = start + offset < end
    return windows, inside.reshape(size, -1, *[1] * len(after))


def _pool(
    reduce: Callable[[torch.Tensor, Sequence[int | None]], torch.Tensor], axes: int
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
