"""Fourier transforms as products with matrices that are computed from the sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from onnxbuild.rules.complex_pairs.pair import Pair, is_complex, pair, stack


def _rows(count: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.arange(count, device=like.device)


def waves(rows: Any, columns: Any, period: Any, like: torch.Tensor) -> tuple[Any, Any, Any]:
    """Give cosines and sines of 2π · row · column / period, and the numbers of the rows."""
    row, column = _rows(rows, like)[:, None], _rows(columns, like)[None, :]
    # In whole numbers as far as can be: the angle of a large product is inexact.
    # A tensor, since dynamo has no remainder by a size.
    whole = torch.ones((), dtype=torch.int64, device=like.device) * period
    place = torch.remainder(row * column, whole)
    turn = place.to(like.dtype) / whole * (2 * math.pi)
    sine = torch.sin(turn)
    # Exact at half a turn, where rounding would decide of which sign the angle of a negative number is.
    sine = torch.where(place * 2 == whole, torch.zeros_like(sine), sine)
    return torch.cos(turn), sine, row


def scaled(value: Any, count: Any, norm: str | None, *, inverse: bool) -> Any:
    """Divide by what a norm says: the number of values, its root, or nothing."""
    norm = norm or "backward"
    if norm == "ortho":
        like = value.real if isinstance(value, Pair) else value
        return value / (torch.ones((), dtype=like.dtype, device=like.device) * count).sqrt()
    return value / count if (norm == "backward") == inverse else value


def _along(value: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    if axis in {-1, value.dim() - 1}:
        return torch.matmul(value, matrix)
    return torch.matmul(value.transpose(axis, -1), matrix).transpose(axis, -1)


def transform(
    value: Any,
    n: Any = None,
    dim: int = -1,
    norm: str | None = None,
    *,
    inverse: bool = False,
    half: bool = False,
) -> Pair:
    """Give ``fft``, ``ifft`` or ``rfft`` along an axis, cut or filled up to `n` values."""
    is_real = not is_complex(value)
    value = pair(value)
    length = value.real.shape[dim]
    count = length if n is None else n
    cosine, sine, row = waves(length, count // 2 + 1 if half else count, count, value.real)
    if n is not None:
        kept = (row < n).to(cosine.dtype)
        cosine, sine = cosine * kept, sine * kept
    sine = sine if inverse else -sine
    if is_real:
        result = Pair(_along(value.real, cosine, dim), _along(value.real, sine, dim))
    else:
        result = Pair(
            _along(value.real, cosine, dim) - _along(value.imag, sine, dim),
            _along(value.real, sine, dim) + _along(value.imag, cosine, dim),
        )
    scaled_result: Pair = scaled(result, count, norm, inverse=inverse)
    return scaled_result


def backward(value: Any, n: Any = None, dim: int = -1, norm: str | None = None) -> torch.Tensor:
    """Give ``irfft`` along an axis: `n` real values of half a spectrum."""
    value = pair(value)
    length = value.real.shape[dim]
    count = 2 * (length - 1) if n is None else n
    cosine, sine, row = waves(length, count, count, value.real)
    twice = row * 2
    # All but the first and the middle one stand for their mirrored ones, too.
    weight = ((twice > 0) & (twice < count)).to(cosine.dtype) + (twice <= count).to(cosine.dtype)
    result = _along(value.real, cosine * weight, dim) - _along(value.imag, sine * weight, dim)
    return scaled(result, count, norm, inverse=True)


def axes_of(value: Any, s: Any, dim: Any) -> tuple[list[Any], list[int]]:
    """Give the sizes and axes of an n-dimensional transform; None for a size that stays."""
    rank = value.real.dim() if isinstance(value, Pair) else value.dim()
    if dim is None:
        axes = list(range(rank)) if s is None else list(range(rank - len(s), rank))
    else:
        axes = [axis % rank for axis in ([dim] if isinstance(dim, int) else dim)]
    sizes = [None] * len(axes) if s is None else list(s)
    return [None if isinstance(size, int) and size == -1 else size for size in sizes], axes


def transform_all(
    value: Any,
    s: Any = None,
    dim: Sequence[int] | None = None,
    norm: str | None = None,
    *,
    inverse: bool = False,
    half: bool = False,
) -> Pair:
    """Give ``fftn``, ``ifftn`` or ``rfftn``: one axis after the other."""
    sizes, axes = axes_of(value, s, dim)
    pairs = list(zip(sizes, axes, strict=True))
    if half:
        value = transform(value, *pairs.pop(), norm, half=True)
    for size, axis in pairs:
        value = transform(value, size, axis, norm, inverse=inverse)
    return pair(value)


def backward_all(
    value: Any, s: Any = None, dim: Sequence[int] | None = None, norm: str | None = None
) -> torch.Tensor:
    """Give ``irfftn``: the whole axes first, and the half one last."""
    value = pair(value)
    sizes, axes = axes_of(value, s, dim)
    pairs = list(zip(sizes, axes, strict=True))
    for size, axis in pairs[:-1]:
        value = transform(value, size, axis, norm, inverse=True)
    return backward(value, *pairs[-1], norm)


def shift(value: Any, dim: Any = None, *, back: bool = False) -> Any:
    """Give ``fftshift`` or ``ifftshift``: the two halves of each axis changed."""
    if isinstance(value, Pair):
        return Pair(shift(value.real, dim, back=back), shift(value.imag, dim, back=back))
    for axis in axes_of(value, None, dim)[1]:
        length = value.shape[axis]
        cut = length // 2 if back else (length + 1) // 2
        ahead = (slice(None),) * axis
        value = torch.cat((value[(*ahead, slice(cut, None))], value[(*ahead, slice(cut))]), axis)
    return value


def frequencies(n: Any, d: float = 1.0, *, half: bool = False, **options: Any) -> torch.Tensor:
    """Give ``fftfreq`` or ``rfftfreq``."""
    dtype = options.pop("dtype", None) or torch.get_default_dtype()
    options.pop("requires_grad", None)
    if half:
        return torch.arange(n // 2 + 1, **options).to(dtype) / (n * d)
    at = torch.arange(n, **options)
    return torch.where(at * 2 < n, at, at - n).to(dtype) / (n * d)


def _window(window: Any, n_fft: int, win_length: int | None, like: torch.Tensor) -> torch.Tensor:
    length = n_fft if win_length is None else win_length
    if window is None:
        window = torch.ones(length, dtype=like.dtype, device=like.device)
    before = (n_fft - length) // 2
    return functional.pad(window, (before, n_fft - length - before)) if n_fft != length else window


def stft(
    input: Any,  # noqa: A002
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """Give ``torch.stft``: one convolution with windowed waves."""
    value = pair(input)
    if is_complex(window) or (align_to_window and not center):
        return NotImplemented
    if onesided is None:
        onesided = not is_complex(input)
    if center:
        room = (n_fft // 2, n_fft // 2)
        parts = [
            functional.pad(
                item.reshape(1 if item.dim() == 1 else item.shape[0], 1, -1), room, pad_mode
            )
            for item in (value.real, value.imag)
        ]
    else:
        parts = [
            item.reshape(-1 if item.dim() > 1 else 1, 1, item.shape[-1])
            for item in (value.real, value.imag)
        ]
    count = n_fft // 2 + 1 if onesided else n_fft
    cosine, sine, _ = waves(n_fft, count, n_fft, value.real)
    shape = _window(window, n_fft, win_length, value.real).to(value.real.dtype)[:, None]
    if normalized:
        shape = shape / math.sqrt(n_fft)
    kernel = torch.cat((cosine * shape, -sine * shape), 1).transpose(0, 1)[:, None]
    step = n_fft // 4 if hop_length is None else hop_length
    found = functional.conv1d(parts[0], kernel, stride=step)
    result = Pair(found[:, :count], found[:, count:])
    if is_complex(input):
        found = functional.conv1d(parts[1], kernel, stride=step)
        result = Pair(result.real - found[:, count:], result.imag + found[:, :count])
    if value.real.dim() == 1:
        result = result[0]
    return result if return_complex is not False else stack(result)


def istft(
    input: Any,  # noqa: A002
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: Any = None,
    return_complex: bool = False,
) -> Any:
    """Give ``torch.istft``: a transposed convolution, over what the windows add up to."""
    if return_complex or onesided is False or is_complex(window):
        return NotImplemented
    value = pair(input)
    flat = value.real.dim() == 2  # noqa: PLR2004 - frequencies and frames
    spectrum = torch.cat((value.real, value.imag), -2)
    spectrum = spectrum[None] if flat else spectrum
    step = n_fft // 4 if hop_length is None else hop_length
    count = n_fft // 2 + 1
    cosine, sine, row = waves(count, n_fft, n_fft, value.real)
    twice = row * 2
    weight = ((twice > 0) & (twice < n_fft)).to(cosine.dtype) + 1
    shape = _window(window, n_fft, win_length, value.real).to(value.real.dtype)
    scale = weight * shape / (math.sqrt(n_fft) if normalized else n_fft)
    kernel = torch.cat((cosine * scale, -sine * scale), 0)[:, None]
    signal = functional.conv_transpose1d(spectrum, kernel, stride=step)
    ones = torch.ones_like(spectrum[:1, :1])
    covered = functional.conv_transpose1d(ones, (shape * shape)[None, None], stride=step)
    start = n_fft // 2 if center else 0
    signal, covered = signal[:, 0, start:], covered[:, 0, start:]
    if length is not None:
        signal, covered = signal[:, :length], covered[:, :length]
    elif center:
        signal, covered = signal[:, : -(n_fft // 2)], covered[:, : -(n_fft // 2)]
    signal = signal / covered
    if length is not None:
        room = torch.zeros((1, length), dtype=signal.dtype, device=signal.device)
        signal = torch.cat((signal, room.expand(signal.shape[0], length)), 1)[:, :length]
    return signal[0] if flat else signal
