"""What some functions of Python's and torch's do while a model is captured.

Functions of ``math`` would take the example's number for a size; here they compute with its symbol, a root as a power,
the others as tensors. What ``functools.lru_cache`` keeps is called, since a symbol is no key. What checks the values of
tensors has nothing to see.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from onnxbuild.steps.export.wholes import TORCH

CACHED: Any = type(functools.lru_cache(lambda: None))
CHECKS = ("_check_tensor_all", "_check_tensor_all_with")
"""Functions of torch's that raise where a tensor is not true everywhere."""

SWITCH = "TRANSFORMERS_DISABLE_TORCH_CHECK"
"""With this in the environment transformers leaves out checks that tie sizes to the values of inputs."""


@contextmanager
def capturing(model: nn.Module) -> Iterator[None]:
    """Let functions be followed inside of the block."""
    places: list[tuple[Any, str, Any]] = [(torch, name, _make_pass()) for name in CHECKS]
    places += [
        (owner, name, value.__wrapped__)
        for owner in _owners(model)
        for name, value in vars(owner).items()
        if isinstance(value, CACHED)
    ]
    places += [
        (math, name, _following(getattr(math, name), other)) for name, other in FUNCTIONS.items()
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in places]
    switch = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    for owner, name, other in places:
        setattr(owner, name, other)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        if switch is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = switch


def _make_pass() -> Callable[..., None]:
    """Give a function that does nothing: one for each, since torch tells functions apart by their identity."""
    return lambda *_values, **_options: None


def _owners(model: nn.Module) -> list[Any]:
    """Give the classes of a model's modules, and the files that they are in."""
    kinds = {kind for child in model.modules() for kind in type(child).__mro__ if _is_own(kind)}
    files = {kind.__module__ for kind in kinds if kind.__module__ in sys.modules}
    found = [*kinds, *(sys.modules[file] for file in files)]
    return sorted(found, key=lambda owner: (owner.__name__, isinstance(owner, type)))


def _is_own(kind: type) -> bool:
    return kind is not object and kind.__module__.partition(".")[0] != "torch"


def _root(value: Any) -> Any:
    return value**0.5


def _tensor(name: str) -> Callable[[Any], Any]:
    """Give a function of `math` as one that computes a tensor."""
    compute = getattr(torch, name)
    return lambda value: compute(torch.full((), value, dtype=torch.get_default_dtype()))


FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "sqrt": _root,
    **{name: _tensor(name) for name in ("cos", "exp", "log", "log10", "log2", "sin", "tanh")},
}
"""By name, those of `math` that follow sizes."""


def _following(usual: Callable[..., Any], other: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(usual)
    def function(value: Any, *rest: Any) -> Any:
        if rest or not isinstance(value, torch.SymInt | torch.SymFloat):
            return usual(value, *rest)
        # torch's own code knows what it does.
        is_torch = sys._getframe(1).f_code.co_filename.startswith(TORCH)
        return usual(value) if is_torch else other(value)

    return function
