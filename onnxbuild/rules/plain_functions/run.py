"""Write functions that one of the exporters lacks with functions that both have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from onnxbuild.core.values import build
from onnxbuild.rules.calls import Table, replace_calls
from onnxbuild.rules.plain_functions import linear
from onnxbuild.rules.plain_functions.spec import PlainFunctions


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace these functions in `model`; give it and where they were."""
    build(PlainFunctions, options)
    return replace_calls(model, TABLE, run)


def _rms_norm(
    input: torch.Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor:
    # In single precision, as torch does, where the square of a large half is infinite.
    is_half = input.dtype in {torch.float16, torch.bfloat16}
    value = input.float() if is_half else input
    # Torch takes the resolution of the type that it computes in.
    least = torch.finfo(value.dtype).eps if eps is None else eps
    axes = list(range(-len(normalized_shape), 0))
    value = value * torch.rsqrt((value * value).mean(axes, keepdim=True) + least)
    value = value if weight is None else value * weight.to(value.dtype)
    return value.to(input.dtype)


def _channel_shuffle(input: torch.Tensor, groups: int) -> torch.Tensor:  # noqa: A002
    batch, channels, *rest = input.shape
    value = input.reshape(batch, groups, channels // groups, *rest)
    return value.transpose(1, 2).reshape(batch, channels, *rest)


def _threshold(
    input: torch.Tensor,  # noqa: A002
    threshold: float,
    value: float,
    inplace: bool = False,
) -> Any:
    if inplace:
        return NotImplemented
    # A comparison with NaN is false, and torch hands NaN on.
    return torch.where(input <= threshold, torch.full_like(input, value), input)


def _rrelu(
    input: torch.Tensor,  # noqa: A002
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Any:
    if training or inplace:
        return NotImplemented
    return functional.leaky_relu(input, (lower + upper) / 2)


def _celu(input: torch.Tensor, alpha: float = 1.0, inplace: bool = False) -> Any:  # noqa: A002
    if inplace:
        return NotImplemented
    return alpha * functional.elu(input / alpha)


def _instance_norm(
    input: torch.Tensor,  # noqa: A002
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if use_input_stats or running_mean is None or running_var is None:
        return NotImplemented
    return functional.batch_norm(
        input, running_mean, running_var, weight, bias, momentum=momentum, eps=eps
    )


def _linspace(
    start: Any, end: Any, steps: Any, *, dtype: torch.dtype | None = None, **options: Any
) -> Any:
    """Give evenly spaced values, from either end to the middle, as torch does; `steps` may be a size."""
    kind = torch.get_default_dtype() if dtype is None else dtype
    if options.pop("out", None) is not None or not kind.is_floating_point:
        return NotImplemented
    places = torch.arange(steps, dtype=kind, **options)
    step = (
        (end - start) / torch.sym_max(steps - 1, 1)
        if _is_symbol(steps)
        else _step(start, end, steps)
    )
    half = (steps + 1) // 2
    return torch.where(places < half, start + step * places, end - step * (steps - 1 - places))


def _step(start: Any, end: Any, steps: Any) -> Any:
    # A size that TorchScript traces is a tensor.
    gaps = (steps - 1).clamp(min=1) if isinstance(steps, torch.Tensor) else max(steps - 1, 1)
    return (end - start) / gaps


def _diff(
    input: torch.Tensor,  # noqa: A002
    n: int = 1,
    dim: int = -1,
    prepend: torch.Tensor | None = None,
    append: torch.Tensor | None = None,
) -> Any:
    if n != 1 or input.dtype == torch.bool:
        return NotImplemented
    parts = [part for part in (prepend, input, append) if part is not None]
    whole = torch.cat(parts, dim).transpose(dim, 0)
    return (whole[1:] - whole[:-1]).transpose(dim, 0)


def _take_along_dim(input: torch.Tensor, indices: torch.Tensor, dim: int | None = None) -> Any:  # noqa: A002
    # It asks whether other sizes are the same, which fixes those that vary.
    is_spread = any(
        isinstance(size, int) and size == 1 and axis != (dim or 0) % input.dim()
        for tensor in (input, indices)
        for axis, size in enumerate(tensor.shape)
    )
    if dim is None or is_spread or input.dim() != indices.dim():
        return NotImplemented
    return input.gather(dim, indices)


def _conv2d(
    input: torch.Tensor,  # noqa: A002
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> Any:
    """Convolve each sample with weights of its own: the batch is the groups of one image, and ONNX's are a number."""
    is_number = isinstance(groups, int)
    # On an example's batch of two and more, one image with groups is nothing else.
    if isinstance(padding, str) or (is_number and (groups == 1 or input.shape[0] != 1)):
        return NotImplemented
    outputs, channels = weight.shape[:2]
    # TorchScript traces sizes as tensors, and those of a kernel are numbers.
    kernel = [int(width) for width in weight.shape[2:]]
    sizes = [
        (size + 2 * pad - gap * (width - 1) - 1) // step + 1
        for size, width, pad, gap, step in zip(
            input.shape[2:], kernel, _pair(padding), _pair(dilation), _pair(stride), strict=True
        )
    ]
    samples = input.reshape(groups, channels, input.shape[2], input.shape[3])
    columns = functional.unfold(samples, kernel, dilation, padding, stride)
    found = weight.reshape(groups, outputs // groups, -1) @ columns
    found = found.reshape(1, outputs, *sizes)
    return found if bias is None else found + bias.reshape(1, -1, 1, 1)


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _is_symbol(value: Any) -> bool:
    return isinstance(value, torch.SymInt | torch.SymFloat)


TABLE: Table = {
    torch.linspace: _linspace,
    **dict.fromkeys((torch.inverse, torch.linalg.inv, torch.Tensor.inverse), linear.inverse),
    torch.linalg.solve: linear.solve,
    **dict.fromkeys((torch.slogdet, torch.linalg.slogdet, torch.Tensor.slogdet), linear.slogdet),
    torch.diff: _diff,
    torch.Tensor.diff: _diff,
    torch.take_along_dim: _take_along_dim,
    torch.Tensor.take_along_dim: _take_along_dim,
    torch.conv2d: _conv2d,
    functional.conv2d: _conv2d,
    functional.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    torch.channel_shuffle: _channel_shuffle,
    torch.native_channel_shuffle: _channel_shuffle,
    functional.threshold: _threshold,
    functional.rrelu: _rrelu,
    functional.celu: _celu,
    functional.instance_norm: _instance_norm,
}
