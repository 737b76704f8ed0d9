"""A complex tensor as two real ones, and the functions of torch on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

COMPLEX = {
    torch.complex32: torch.float16,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}
"""By complex type, that of its parts."""


class UnknownError(Exception):
    """A function that is not known for pairs."""


class Pair:
    """A complex tensor: its real and its imaginary part."""

    def __init__(self, real: torch.Tensor, imag: torch.Tensor) -> None:
        self.real = real
        self.imag = imag

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Answer a function of torch that is called with a pair."""
        return answer(func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        """Give what a tensor has: a method, or a property."""
        found = getattr(torch.Tensor, name, None)
        if name.startswith("__") or found is None:
            raise AttributeError(name)
        if not callable(found):
            return answer(found.__get__, (self,), {})
        return lambda *args, **kwargs: answer(found, (self, *args), kwargs)

    @property
    def dtype(self) -> torch.dtype:
        """The complex type."""
        return next(kind for kind, part in COMPLEX.items() if part == self.real.dtype)

    @property
    def shape(self) -> Any:
        """The sizes."""
        return self.real.shape

    def __getitem__(self, index: Any) -> Pair:
        """Give a part."""
        return Pair(self.real[index], self.imag[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write into a part."""
        value = pair(value, self.real)
        self.real[index] = value.real
        self.imag[index] = value.imag

    def __len__(self) -> int:
        """Give the first size."""
        return len(self.real)

    def __iter__(self) -> Iterator[Pair]:
        """Give the parts along the first axis."""
        return iter(map(Pair, self.real.unbind(0), self.imag.unbind(0)))

    def __add__(self, other: Any) -> Pair:
        """Give the sum."""
        return add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Pair:
        """Give the difference."""
        return sub(self, other)

    def __rsub__(self, other: Any) -> Pair:
        """Give the difference from something."""
        return sub(other, self)

    def __mul__(self, other: Any) -> Pair:
        """Give the product."""
        return multiply(torch.mul, self, other)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> Pair:
        """Give the product of matrices."""
        return multiply(torch.matmul, self, other)

    def __truediv__(self, other: Any) -> Pair:
        """Give the quotient."""
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> Pair:
        """Give the quotient of something by this."""
        return divide(other, self)

    def __pow__(self, exponent: Any) -> Pair:
        """Give a power."""
        return power(self, exponent)

    def __neg__(self) -> Pair:
        """Give the negative."""
        return Pair(-self.real, -self.imag)

    def __eq__(self, other: object) -> Any:
        """Compare, value by value."""
        value = pair(other, self.real)
        return (self.real == value.real) & (self.imag == value.imag)

    __hash__ = None  # type: ignore[assignment]


def is_complex(value: Any) -> bool:
    """True for a pair, and for what has to become one."""
    return isinstance(value, Pair | complex) or (
        isinstance(value, torch.Tensor) and value.dtype in COMPLEX
    )


def pair(value: Any, like: torch.Tensor | None = None) -> Pair:
    """Give a value as a pair; a number gets the type of `like`."""
    if isinstance(value, Pair):
        return value
    if isinstance(value, complex) and like is not None:
        return Pair(
            torch.full((), value.real, dtype=like.dtype, device=like.device),
            torch.full((), value.imag, dtype=like.dtype, device=like.device),
        )
    if not isinstance(value, torch.Tensor):
        assert like is not None  # noqa: S101 - two numbers are no call of torch's
        value = torch.ones((), dtype=like.dtype, device=like.device) * value
    if value.dtype in COMPLEX:
        return Pair(value.real, value.imag)
    if not value.is_floating_point():
        value = value.to(torch.get_default_dtype() if like is None else like.dtype)
    return Pair(value, torch.zeros_like(value))


def both(left: Any, right: Any) -> tuple[Pair, Pair]:
    """Give two operands as pairs."""
    like = next((item.real for item in (left, right) if isinstance(item, Pair)), None)
    if like is None:
        tensor = left if isinstance(left, torch.Tensor) else right
        like = pair(tensor).real
    return pair(left, like), pair(right, like)


def add(left: Any, right: Any) -> Pair:
    """Give the sum of two values."""
    left, right = both(left, right)
    return Pair(left.real + right.real, left.imag + right.imag)


def sub(left: Any, right: Any) -> Pair:
    """Give the difference of two values."""
    left, right = both(left, right)
    return Pair(left.real - right.real, left.imag - right.imag)


def multiply(product: Callable[..., Any], left: Any, right: Any) -> Pair:
    """Give a product, of any kind that is linear on both sides."""
    if not is_complex(left) and isinstance(right, Pair):
        return Pair(product(left, right.real), product(left, right.imag))
    if not is_complex(right) and isinstance(left, Pair):
        return Pair(product(left.real, right), product(left.imag, right))
    left, right = both(left, right)
    return Pair(
        product(left.real, right.real) - product(left.imag, right.imag),
        product(left.real, right.imag) + product(left.imag, right.real),
    )


def divide(left: Any, right: Any) -> Pair:
    """Give the quotient of two values."""
    if not is_complex(right) and isinstance(left, Pair):
        return Pair(left.real / right, left.imag / right)
    left, right = both(left, right)
    # Scaled first: the square of a small number is zero.
    scale = torch.where(right.real.abs() > right.imag.abs(), right.real.abs(), right.imag.abs())
    real, imag = right.real / scale, right.imag / scale
    size = (real * real + imag * imag) * scale
    return multiply(torch.mul, left, Pair(real / size, -imag / size))


def power(value: Any, exponent: Any) -> Pair:
    """Give a power: by products for small whole exponents, else by size and angle."""
    if is_complex(value) and isinstance(exponent, int) and 1 <= exponent <= 8:  # noqa: PLR2004 - beyond, rounding counts
        base = pair(value)
        result = base
        for _ in range(exponent - 1):
            result = result * base
        return result
    base, exponent = both(value, exponent)
    return exponential(logarithm(base) * exponent)


def size(value: Pair) -> torch.Tensor:
    """Give the absolute values."""
    return torch.sqrt(value.real * value.real + value.imag * value.imag)


def angle(value: Pair) -> torch.Tensor:
    """Give the angles, from -π to π."""
    # Not atan2, for which TorchScript divides zero by zero.
    real, imag = value.real, value.imag
    # And not an equality, which old opsets have of whole numbers only.
    aside = real.abs() > 0
    slope = torch.atan(imag / torch.where(aside, real, torch.ones_like(real)))
    half = torch.where(imag < 0, torch.full_like(imag, -torch.pi), torch.full_like(imag, torch.pi))
    upright = torch.where(imag.abs() > 0, half / 2, torch.zeros_like(imag))
    return torch.where(aside, torch.where(real < 0, slope + half, slope), upright)


def polar(absolute: Any, angles: torch.Tensor) -> Pair:
    """Give the numbers of these sizes and angles."""
    return Pair(absolute * torch.cos(angles), absolute * torch.sin(angles))


def exponential(value: Pair) -> Pair:
    """Give e to the power of a value."""
    return polar(torch.exp(value.real), value.imag)


def logarithm(value: Pair) -> Pair:
    """Give the natural logarithm."""
    return Pair(torch.log(size(value)), angle(value))


def root(value: Pair) -> Pair:
    """Give the square root, its real part not negative."""
    absolute = size(value)
    real = torch.sqrt(torch.relu((absolute + value.real) / 2))
    imag = torch.sqrt(torch.relu((absolute - value.real) / 2))
    return Pair(real, torch.where(value.imag < 0, -imag, imag))


def answer(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function of torch for pairs. Raises `UnknownError` for one that is not known."""
    from onnxbuild.rules.complex_pairs import functions

    return functions.answer(func, args, kwargs)


def stack(value: Any) -> torch.Tensor:
    """Give a value with its two parts as the last axis, as ``view_as_real`` does."""
    value = pair(value)
    return torch.stack((value.real, value.imag), -1)


def unstack(value: torch.Tensor) -> Pair:
    """Take the last axis for the two parts, as ``view_as_complex`` does."""
    return Pair(value[..., 0], value[..., 1])


def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Pair:  # noqa: A002
    """Pad both parts."""
    given = pair(input)
    fill = complex(value or 0)
    return Pair(
        functional.pad(given.real, pad, mode, fill.real if mode == "constant" else None),
        functional.pad(given.imag, pad, mode, fill.imag if mode == "constant" else None),
    )
