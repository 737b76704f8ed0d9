"""What rules for modules have in common: modes, one run that leaves no trace, tensors that move."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

SINGLE = torch.finfo(torch.float32).eps


def say(text: str) -> None:
    """Write a line to the step's log."""
    sys.stdout.write(text + "\n")


def shown(path: str) -> str:
    """Give the path of a module as people read it."""
    return path or "(the model)"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules in eval mode, without their own `train`, and back into their modes afterwards."""
    modes = [(child, child.training) for child in model.modules()]
    try:
        for child, _ in modes:
            child.training = False
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        for child, mode in modes:
            child.training = mode


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    """Remove hooks in the end."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def replace_all(
    model: nn.Module, make: Callable[[str, nn.Module], nn.Module | None]
) -> tuple[nn.Module, list[str]]:
    """Put what `make` gives for a module in each place where the module stands; give the model and the places.

    None leaves a module, and what is in it is looked at. What `make` gives is not looked into again; a module
    that stands in several places is asked for once.
    """
    made: dict[int, nn.Module | None] = {}
    keep: list[nn.Module] = []
    paths: list[str] = []
    for path, old in list(model.named_modules(remove_duplicate=False)):
        if any(path.startswith(other + ".") for other in paths):
            continue
        if id(old) not in made:
            made[id(old)] = make(path, old)
            # An id is only good as long as its module lives.
            keep.append(old)
        new = made[id(old)]
        if new is None:
            continue
        paths.append(path)
        if not path:
            return new, ["(the model)"]
        parent, _, name = path.rpartition(".")
        model.get_submodule(parent)._modules[name] = new
    return model, paths


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Give how far two results of the same formula are apart, in parts of what rounding may make of it; over 1 is too far."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return float("inf")
    if not found.numel():
        return 0.0
    error = (found.double() - wanted.double()).abs().max()
    if error.isnan():
        return float("inf")
    size = wanted.double().abs().max().clamp(min=1e-30)
    epsilon = torch.finfo(found.dtype).eps
    # Sums of thousands of products in single precision; types of 16 bits are rounded a few times only.
    allowed = 8 * epsilon if epsilon > SINGLE else 800 * epsilon
    return float(error / size / allowed)
