"""Average and maximum over computed windows, with operators that both exporters write at every size.

Output i of o covers the inputs from ``floor(i n / o)`` to ``ceil((i + 1) n / o)``, the end not included, one
axis after the other. The windows are gathered, which takes n + 2 o values a row, and reduced. Sizes may be
those that an exporter traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def average(value: torch.Tensor, sizes: Sequence[Any]) -> torch.Tensor:
    """Average over the windows of the last axes, one for each of `sizes`; None leaves an axis."""
    for axis, size in enumerate(sizes, start=-len(sizes)):
        if size is None:
            continue
        if isinstance(size, int) and size == 1:
            value = value.mean(axis, keepdim=True)
            continue
        windows, inside = _windows(value, axis, size)
        # Not times zero: what is outside may be infinite.
        total = torch.where(inside, windows, torch.zeros_like(windows)).sum(axis)
        value = total / inside.to(value.dtype).sum(1)
    return value


def maximum(value: torch.Tensor, sizes: Sequence[Any]) -> torch.Tensor:
    """Take the greatest of each window of the last axes, one for each of `sizes`; None leaves an axis."""
    for axis, size in enumerate(sizes, start=-len(sizes)):
        if isinstance(size, int) and size == 1:
            value = value.amax(axis, keepdim=True)
        elif size is not None:
            # What is beyond the end of a window is its last value once more.
            value = _windows(value, axis, size)[0].amax(axis)
    return value


def _windows(value: torch.Tensor, axis: int, size: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the windows as one more axis after `axis`, which stays `axis` from the end, and what in them counts."""
    length = value.shape[axis]
    index = torch.arange(size, device=value.device)[:, None]
    start = (index * length) // size
    end = ((index + 1) * length + size - 1) // size
    offset = torch.arange(length // size + 2, device=value.device)[None, :]
    at = start + offset
    # Not the minimum, which opsets below 12 have of floats only.
    at = torch.where(at < end, at, end - 1)
    rows = torch.index_select(value, axis, at.reshape(-1))
    before = [value.shape[position] for position in range(value.dim() + axis)]
    after = [value.shape[position] for position in range(value.dim() + axis + 1, value.dim())]
    # The windows' axis comes before what follows, so that `axis` counted from the end is it.
    windows = rows.reshape(*before, size, -1, *after)
    inside = start + offset < end
    return windows, inside.reshape(size, -1, *[1] * len(after))
