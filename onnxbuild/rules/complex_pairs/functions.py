"""What the functions of torch are for pairs: by function where they make complex numbers, by name where they take them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from onnxbuild.rules.complex_pairs import fourier
from onnxbuild.rules.complex_pairs import pair as pairs
from onnxbuild.rules.complex_pairs.pair import COMPLEX, Pair, UnknownError, is_complex, pair

ALIKE = frozenset(
    {
        "broadcast_to", "chunk", "clone", "contiguous", "cumsum", "detach", "diag_embed", "diagonal", "expand",
        "flatten", "flip", "gather", "getitem", "index_select", "interpolate", "masked_select", "mean", "moveaxis",
        "movedim", "narrow", "neg", "negative", "permute", "repeat", "repeat_interleave", "reshape", "roll",
        "select", "split", "split_with_sizes", "squeeze", "sum", "swapaxes", "swapdims", "t", "T", "mT", "take",
        "take_along_dim", "tensor_split", "tile", "transpose", "tril", "triu", "unbind", "unflatten", "unfold",
        "unsqueeze", "view", "view_as", "expand_as", "reshape_as",
    }
)  # fmt: skip
"""What is done to each part for itself. What else is an operand tells sizes or places only."""

ASKED = frozenset({"size", "dim", "ndim", "numel", "nelement", "device", "is_floating_point", "stride", "layout", "get_device", "is_cuda", "requires_grad", "is_contiguous", "ndimension"})  # fmt: skip
"""What is as the real part has it."""

PRODUCTS = frozenset({"mul", "multiply", "rmul", "matmul", "rmatmul", "bmm", "mm", "mv", "dot", "outer", "kron", "inner"})  # fmt: skip


def answer(func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Give the result of a call for pairs; NotImplemented where nothing in it is complex.

    Raises `UnknownError` for a function that is not known for complex numbers.
    """
    made = MAKES.get(func)
    if made is not None:
        result = made(*args, **kwargs)
        if result is not NotImplemented:
            return result
    if not any(_has_complex(item) for item in (*args, *kwargs.values())):
        return NotImplemented
    name = _name(func)
    if name in {"shape", "dtype", "is_complex"} | ASKED and not isinstance(args[0], Pair):
        return NotImplemented
    if name.endswith("_"):
        return _in_place(name, args, kwargs)
    other = NAMED.get(name)
    if other is not None:
        return other(*args, **kwargs)
    if name in PRODUCTS:
        if name.startswith("r"):
            return pairs.multiply(getattr(torch, name[1:]), args[1], args[0])
        return pairs.multiply(func, *args, **kwargs)
    if name in ASKED:
        return func(args[0].real, *args[1:], **kwargs)
    if name in ALIKE:
        args, kwargs = _paired(args), dict(zip(kwargs, _paired(list(kwargs.values())), strict=True))
        real = func(*_parts(args, "real"), **_parts(kwargs, "real"))
        imag = func(*_parts(args, "imag"), **_parts(kwargs, "imag"))
        if isinstance(real, torch.Tensor):
            return Pair(real, imag)
        return tuple(map(Pair, real, imag))
    raise UnknownError(name)


def _name(func: Any) -> str:
    """Give the plain name of a function: ``mul`` for ``Tensor.__mul__``, ``T`` for that property."""
    name: str = getattr(func, "__name__", str(func))
    if name == "__get__":
        name = getattr(func.__self__, "__name__", name)
    return name[2:-2] if name.startswith("__") else name


def _has_complex(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_complex(item) for item in value)
    return is_complex(value)


def _paired(value: Any) -> Any:
    """Make pairs of complex tensors."""
    if isinstance(value, list | tuple):
        return [_paired(item) for item in value] if _has_complex(value) else value
    return pair(value) if isinstance(value, torch.Tensor) and value.dtype in COMPLEX else value


def _parts(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _parts(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_parts(item, name) for item in value)
    return getattr(value, name) if isinstance(value, Pair) else value


def _in_place(name: str, args: Any, kwargs: Mapping[str, Any]) -> Pair:
    """Write what the function without the underscore gives into the first operand."""
    target, *rest = args
    if not isinstance(target, Pair):
        raise UnknownError(name)
    if name == "copy_":
        value: Any = pair(rest[0], target.real)
    elif name in {"zero_", "fill_"}:
        value = pair(complex(rest[0] if rest else 0), target.real)
    else:
        value = pair(answer(getattr(torch.Tensor, name[:-1]), (target, *rest), kwargs))
    target.real.copy_(value.real)
    target.imag.copy_(value.imag)
    return target


def _joined(func: Callable[..., torch.Tensor]) -> Callable[..., Pair]:
    def join(tensors: Sequence[Any], *args: Any, **kwargs: Any) -> Pair:
        like = next(pair(item).real for item in tensors if is_complex(item))
        found = [pair(item, like) for item in tensors]
        return Pair(
            func([item.real for item in found], *args, **kwargs),
            func([item.imag for item in found], *args, **kwargs),
        )

    return join


def _sum(left: Any, right: Any, *, alpha: Any = 1) -> Pair:
    return pairs.add(left, right if alpha == 1 else right * alpha)


def _difference(left: Any, right: Any, *, alpha: Any = 1) -> Pair:
    return pairs.sub(left, right if alpha == 1 else right * alpha)


def _where(condition: Any, left: Any, right: Any) -> Pair:
    left, right = pairs.both(left, right)
    return Pair(
        torch.where(condition, left.real, right.real), torch.where(condition, left.imag, right.imag)
    )


def _masked_fill(value: Any, mask: torch.Tensor, fill: Any) -> Pair:
    return _where(mask, fill, value)


def _einsum(equation: str, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if len(operands) == 1:
        value = pair(operands[0])
        return Pair(torch.einsum(equation, value.real), torch.einsum(equation, value.imag))
    if len(operands) != 2:  # noqa: PLR2004 - a product is of two
        raise UnknownError("einsum of more than two operands")
    return pairs.multiply(functools.partial(torch.einsum, equation), *operands)


def _linear(value: Any, weight: Any, bias: Any = None) -> Pair:
    result = pairs.multiply(torch.matmul, value, weight.transpose(-1, -2))
    return result if bias is None else result + bias


def _to(value: Any, *args: Any, **kwargs: Any) -> Any:
    value = pair(value)
    kinds = [item for item in (*args, *kwargs.values()) if isinstance(item, torch.dtype)]
    if kinds and kinds[0] not in COMPLEX:
        # As torch does, with a warning: the imaginary part goes.
        return value.real.to(kinds[0])
    kinds = [COMPLEX[kind] for kind in kinds]
    return Pair(value.real.to(kinds[0]), value.imag.to(kinds[0])) if kinds else value


def _like(func: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    def make(value: Any, *args: Any, **kwargs: Any) -> Any:
        kind = kwargs.pop("dtype", None) or value.dtype
        made = func(pair(value).real, *args, dtype=COMPLEX.get(kind, kind), **kwargs)
        return Pair(made, torch.zeros_like(made)) if kind in COMPLEX else made

    return make


def _equal(left: Any, right: Any) -> torch.Tensor:
    left, right = pairs.both(left, right)
    return (left.real == right.real) & (left.imag == right.imag)


def _conjugate(value: Any) -> Pair:
    value = pair(value)
    return Pair(value.real, -value.imag)


def _sign(value: Any) -> Pair:
    value = pair(value)
    size = pairs.size(value)
    return pairs.divide(value, torch.where(size > 0, size, torch.ones_like(size)))


def _write(target: Any, index: Any, value: Any) -> None:
    if not isinstance(target, Pair):
        raise UnknownError("a complex tensor of the model's is written into")
    target[index] = value


def _of(function: Callable[[Pair], Any]) -> Callable[..., Any]:
    return lambda value: function(pair(value))


def _sine(value: Pair) -> Pair:
    return Pair(
        torch.sin(value.real) * torch.cosh(value.imag),
        torch.cos(value.real) * torch.sinh(value.imag),
    )


def _cosine(value: Pair) -> Pair:
    return Pair(
        torch.cos(value.real) * torch.cosh(value.imag),
        -torch.sin(value.real) * torch.sinh(value.imag),
    )


def _square(value: Any) -> Pair:
    return pairs.multiply(torch.mul, pair(value), pair(value))


NAMED: dict[str, Callable[..., Any]] = {
    "abs": _of(pairs.size), "absolute": _of(pairs.size), "add": _sum, "radd": _sum, "angle": _of(pairs.angle),
    "arg": _of(pairs.angle), "cat": _joined(torch.cat), "concat": _joined(torch.cat), "conj": _conjugate,
    "concatenate": _joined(torch.cat), "conj_physical": _conjugate, "cos": _of(_cosine), "div": pairs.divide,
    "divide": pairs.divide, "einsum": _einsum, "empty_like": _like(torch.zeros_like), "eq": _equal,
    "exp": _of(pairs.exponential), "full_like": _like(torch.full_like), "H": lambda x: _conjugate(x).mT,
    "imag": _of(lambda x: x.imag), "is_complex": lambda _: True, "linear": _linear, "log": _of(pairs.logarithm),
    "masked_fill": _masked_fill, "mH": lambda x: _conjugate(x).mT, "new_zeros": _like(torch.Tensor.new_zeros),
    "new_ones": _like(torch.Tensor.new_ones), "ones_like": _like(torch.ones_like), "pad": pairs.pad,
    "pow": pairs.power, "rdiv": lambda x, y: pairs.divide(y, x), "real": _of(lambda x: x.real),
    "reciprocal": lambda x: pairs.divide(1.0, pair(x)), "resolve_conj": _of(lambda x: x), "setitem": _write,
    "rpow": lambda x, y: pairs.power(y, x), "rsub": lambda x, y: pairs.sub(y, x), "rtruediv": lambda x, y:
    pairs.divide(y, x), "sgn": _sign, "sin": _of(_sine), "sqrt": _of(pairs.root), "square": _square,
    "stack": _joined(torch.stack), "sub": _difference, "subtract": _difference, "to": _to, "cfloat":
    lambda x: _to(x, torch.complex64), "truediv": pairs.divide, "true_divide": pairs.divide, "type": _to,
    "view_as_real": pairs.stack, "where": _where, "zeros_like": _like(torch.zeros_like),
    "contiguous": _of(lambda x: x), "cuda": lambda x, *_, **__: pair(x), "cpu": _of(lambda x: x),
}  # fmt: skip
"""By plain name, functions on what is complex, at least one operand of theirs."""


def _created(func: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Make tensors of a complex type pairs."""

    def create(*args: Any, dtype: torch.dtype | None = None, **kwargs: Any) -> Any:
        if dtype not in COMPLEX or _has_complex(args):
            return NotImplemented
        made = func(*args, dtype=COMPLEX[dtype], **kwargs)
        return Pair(made, torch.zeros_like(made))

    return create


def _converted(value: Any, *args: Any, **kwargs: Any) -> Any:
    kinds = [item for item in (*args, *kwargs.values()) if isinstance(item, torch.dtype)]
    if is_complex(value) or not kinds or kinds[0] not in COMPLEX:
        return NotImplemented
    return _to(value, *kinds)


def _transform(**given: Any) -> Callable[..., Any]:
    def call(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:  # noqa: A002
        return fourier.transform(input, n, dim, norm, **given)

    return call


def _transform_all(axes: Any, **given: Any) -> Callable[..., Any]:
    def call(input: Any, s: Any = None, dim: Any = axes, norm: Any = None) -> Any:  # noqa: A002
        return fourier.transform_all(input, s, dim, norm, **given)

    return call


def _backward(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:  # noqa: A002
    return fourier.backward(input, n, dim, norm)


def _backward_all(axes: Any) -> Callable[..., Any]:
    def call(input: Any, s: Any = None, dim: Any = axes, norm: Any = None) -> Any:  # noqa: A002
        return fourier.backward_all(input, s, dim, norm)

    return call


SWAPPED = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def _hermitian(call: Callable[..., Any], *, inverse: bool = False) -> Callable[..., Any]:
    """Transform between real values and half a spectrum the other way round: of the conjugate, with the other norm."""

    def other(input: Any, *args: Any, norm: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        sizes, norm = args[:2], SWAPPED[args[2] if args[2:] else norm]
        if inverse:
            return _conjugate(call(input, *sizes, norm=norm, **kwargs))
        return call(_conjugate(input), *sizes, norm=norm, **kwargs)

    return other


MAKES: dict[Any, Callable[..., Any]] = {
    torch.fft.fft: _transform(), torch.fft.ifft: _transform(inverse=True), torch.fft.rfft: _transform(half=True),
    torch.fft.irfft: _backward,
    torch.fft.fft2: _transform_all((-2, -1)), torch.fft.ifft2: _transform_all((-2, -1), inverse=True),
    torch.fft.rfft2: _transform_all((-2, -1), half=True), torch.fft.irfft2: _backward_all((-2, -1)),
    torch.fft.fftn: _transform_all(None), torch.fft.ifftn: _transform_all(None, inverse=True),
    torch.fft.rfftn: _transform_all(None, half=True), torch.fft.irfftn: _backward_all(None),
    torch.fft.hfft: _hermitian(_backward), torch.fft.ihfft: _hermitian(_transform(half=True), inverse=True),
    torch.fft.hfft2: _hermitian(_backward_all((-2, -1))), torch.fft.hfftn: _hermitian(_backward_all(None)),
    torch.fft.ihfft2: _hermitian(_transform_all((-2, -1), half=True), inverse=True),
    torch.fft.ihfftn: _hermitian(_transform_all(None, half=True), inverse=True),
    torch.fft.fftshift: fourier.shift, torch.fft.ifftshift: functools.partial(fourier.shift, back=True),
    torch.fft.fftfreq: fourier.frequencies, torch.fft.rfftfreq: functools.partial(fourier.frequencies, half=True),
    torch.stft: fourier.stft, torch.Tensor.stft: fourier.stft, torch.istft: fourier.istft,
    torch.Tensor.istft: fourier.istft,
    torch.view_as_complex: pairs.unstack, torch.complex: Pair, torch.polar: pairs.polar,
    torch.Tensor.to: _converted, torch.Tensor.type: _converted,
    torch.Tensor.cfloat: lambda value: _to(value, torch.complex64),
    torch.zeros: _created(torch.zeros), torch.ones: _created(torch.ones), torch.empty: _created(torch.zeros),
    torch.full: _created(torch.full), torch.zeros_like: _created(torch.zeros_like),
    torch.ones_like: _created(torch.ones_like), torch.empty_like: _created(torch.zeros_like),
}  # fmt: skip
"""Functions that make complex numbers of real ones, or are Fourier transforms; NotImplemented leaves the call."""
