"""Tensors that are filled from sizes, so that a capture keeps the sizes open.

``torch.tensor([height, width])`` and ``torch.linspace(0, 1, width)`` take numbers of Python's. Where torch.export meets
them it takes the sizes of the example, and the graph holds for these alone. The same tensors can be put together of
scalars, and counted with ``torch.arange``, which both keep a size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

OPEN = (torch.SymInt, torch.SymFloat, torch.SymBool)


class Filled(TorchFunctionMode):  # type: ignore[misc]
    """Replaces what would make constants of sizes. Where no size is open, nothing is replaced."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, or what stands for it."""
        kwargs = kwargs or {}
        other = REPLACED.get(func)
        if other is not None and any(isinstance(item, OPEN) for item in _leaves((args, kwargs))):
            made = other(*args, **kwargs)
            if made is not NotImplemented:
                return made
        return func(*args, **kwargs)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _tensor(
    data: Any,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Put numbers, in lists of lists, together as ``torch.tensor`` does."""
    del pin_memory
    if requires_grad:
        return NotImplemented
    return _stack(data, dtype or _infer(data), device)


def _as_tensor(data: Any, dtype: torch.dtype | None = None, device: Any = None) -> Any:
    return _tensor(data, dtype=dtype, device=device)


def _new_tensor(
    given: torch.Tensor, data: Any, *, dtype: torch.dtype | None = None, device: Any = None
) -> Any:
    return _tensor(data, dtype=dtype or given.dtype, device=device or given.device)


def _infer(data: Any) -> torch.dtype:
    """Give the type that torch would: that of a tensor among the numbers, or what holds them all."""
    leaves = list(_leaves(data))
    tensors = [leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if tensors:
        return tensors[0]
    if any(isinstance(leaf, float | torch.SymFloat) for leaf in leaves):
        return torch.get_default_dtype()
    is_logical = all(isinstance(leaf, bool | torch.SymBool) for leaf in leaves)
    return torch.bool if is_logical else torch.int64


def _stack(data: Any, dtype: torch.dtype, device: Any) -> torch.Tensor:
    if isinstance(data, list | tuple):
        return torch.stack([_stack(item, dtype, device) for item in data])
    return _scalar(data, dtype, device)


def _scalar(value: Any, dtype: torch.dtype, device: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.to(device=device, dtype=dtype)
    return torch.scalar_tensor(value, dtype=dtype, device=device)


def _linspace(
    start: Any,
    end: Any,
    steps: Any,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    **rest: Any,
) -> Any:
    """Count from both ends, as torch does, so that both are met exactly."""
    dtype = dtype or torch.get_default_dtype()
    if not dtype.is_floating_point or any(rest.values()):
        return NotImplemented
    first, last = _scalar(start, dtype, device), _scalar(end, dtype, device)
    count = torch.arange(steps, dtype=dtype, device=device)
    # Of one step there is no distance, and it is not used.
    number = _scalar(steps, dtype, device)
    step = (last - first) / (number - 1).clamp(min=1)
    back = number - 1 - count
    return torch.where(count < number / 2, first + step * count, last - step * back)


REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.tensor: _tensor,
    torch.as_tensor: _as_tensor,
    torch.asarray: _as_tensor,
    torch.Tensor.new_tensor: _new_tensor,
    torch.linspace: _linspace,
}
