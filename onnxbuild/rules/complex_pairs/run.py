"""Compute with complex numbers, and Fourier transforms, as pairs of real ones, wherever a model does."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.calls import place, replace_calls
from onnxbuild.rules.complex_pairs.functions import answer
from onnxbuild.rules.complex_pairs.pair import COMPLEX, Pair, UnknownError, pair
from onnxbuild.rules.complex_pairs.spec import ComplexPairs
from onnxbuild.rules.surgery import say, shown


class Pairs(Mapping[Any, Callable[..., Any]]):
    """A table with an answer for every function: what is complex decides, not which it is."""

    def __init__(self) -> None:
        self._split: dict[int, tuple[torch.Tensor, Pair]] = {}

    def __getitem__(self, func: Any) -> Callable[..., Any]:
        """Give what answers a call of a function."""
        return functools.partial(self._answer, func)

    def __iter__(self) -> Iterator[Any]:
        """Name no function."""
        return iter(())

    def __len__(self) -> int:
        """Name no function."""
        return 0

    def _answer(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        args = tuple(map(self._take, args))
        kwargs = {name: self._take(value) for name, value in kwargs.items()}
        try:
            return answer(func, args, kwargs)
        except UnknownError as error:
            raise ExportError(
                f"no rule says what {error} is for complex numbers as pairs of real ones ({place()})",
                where="replace",
                hint="write that part with real numbers",
            ) from error

    def _take(self, value: Any) -> Any:
        """Give a complex tensor that the model keeps as a pair, the same for each call.

        It is split when the model is first called, not in a trace: that would write down the splitting.
        """
        if isinstance(value, list | tuple) and type(value) in {list, tuple}:
            return type(value)(map(self._take, value))
        if not isinstance(value, torch.Tensor) or value.dtype not in COMPLEX:
            return value
        if id(value) not in self._split:
            found = pair(value.detach().resolve_conj())
            self._split[id(value)] = value, Pair(found.real.clone(), found.imag.clone())
        return self._split[id(value)][1]


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace complex numbers in `model`; give it and where they were.

    Where the rule is optional, a model that does with them what is not known is left as it is.
    """
    optional = build(ComplexPairs, options).optional
    changed: list[tuple[nn.Module, type[nn.Module], dict[str, Any], dict[str, Any]]] = []
    places = _split_state(model, changed)
    try:
        model, calls = replace_calls(model, Pairs(), run)
    except Exception as error:
        for module, kind, parameters, buffers in changed:
            module.__class__ = kind
            module._parameters, module._buffers = parameters, buffers
        if not optional:
            raise
        say("".join(traceback.format_exception_only(error)).strip())
        return model, []
    return model, places + calls


def _split_state(model: nn.Module, changed: list[Any]) -> list[str]:
    """Keep complex parameters and buffers as real tensors whose last axis is the two parts; give their names."""
    places = []
    for path, module in model.named_modules():
        state = {**module._parameters, **module._buffers}
        names = [
            name for name, value in state.items() if value is not None and value.dtype in COMPLEX
        ]
        if not names:
            continue
        changed.append((module, type(module), dict(module._parameters), dict(module._buffers)))
        for name in names:
            module._parameters.pop(name, None)
            module._buffers.pop(name, None)
            parts = torch.view_as_real(state[name].detach().resolve_conj()).clone()
            module._buffers[f"{name}_parts"] = parts
            places.append(f"{shown(path)}.{name}")
        kind = type(module)
        module.__class__ = type(kind.__name__, (kind,), {name: _kept(name) for name in names})
    return places


def _kept(name: str) -> property:
    """Make the property that gives a tensor of the state as a pair."""

    def give(module: nn.Module) -> Pair:
        parts = module._buffers[f"{name}_parts"]
        assert parts is not None  # noqa: S101 - `_split_state` has put it there
        return Pair(parts[..., 0], parts[..., 1])

    return property(give)
