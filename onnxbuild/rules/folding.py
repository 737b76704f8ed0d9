"""Make a weight that is computed from others at each call the plain weight that it is in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from onnxbuild.errors import ExportError
from onnxbuild.rules.surgery import evaluating, shown

Wanted = Callable[[nn.Module], bool]


def fold_parametrizations(model: nn.Module, wanted: Wanted) -> list[str]:
    """Fold each parametrized tensor of which a parametrization is `wanted`; give their paths.

    All parametrizations of such a tensor go: one alone cannot be taken from the middle of a chain.
    """
    found = []
    with evaluating(model):
        for path, child, name in _parametrized(model):
            chain = child.parametrizations[name]
            if not any(wanted(item) for item in chain):
                continue
            full = f"{path}.{name}".lstrip(".")
            value = _value(child, name, full)
            trained = any(isinstance(item, nn.Parameter) for item in _originals(chain))
            if hasattr(chain, "original"):
                # What replaces the original is written into it, and another module may have the same one.
                chain.original = _own(chain.original)
            parametrize.remove_parametrizations(child, name, leave_parametrized=True)
            _set(child, name, value, trained=trained)
            found.append(full)
    return found


def fold_hooks(
    model: nn.Module, kind: type, attribute: str, remove: Callable[[nn.Module, str], object]
) -> list[str]:
    """Fold each tensor that a hook of `kind` computes before each call, with `remove`; give their paths.

    `attribute` of the hook is the name of the tensor.
    """
    found = []
    with evaluating(model):
        for path, child in model.named_modules():
            hooks = [hook for hook in child._forward_pre_hooks.values() if isinstance(hook, kind)]
            for name in [getattr(hook, attribute) for hook in hooks]:
                original = child._parameters.get(f"{name}_orig")
                if original is not None:
                    # Pruning writes into it, and another module may have the same one.
                    child._parameters[f"{name}_orig"] = _own(original)
                remove(child, name)
                found.append(f"{path}.{name}".lstrip("."))
    return found


def _parametrized(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    for path, child in list(model.named_modules()):
        if parametrize.is_parametrized(child):
            yield from ((path, child, name) for name in list(child.parametrizations))


def _value(child: nn.Module, name: str, full: str) -> torch.Tensor:
    value: torch.Tensor = getattr(child, name).detach().clone()
    if not torch.equal(torch.nan_to_num(value), torch.nan_to_num(getattr(child, name))):
        raise ExportError(
            f"{full} has another value each time that it is computed, so no constant can stand for it",
            where="replace",
            hint=f"take the parametrization of {shown(full.rpartition('.')[0])} out yourself",
        )
    return value


def _originals(chain: Any) -> list[torch.Tensor]:
    if hasattr(chain, "original"):
        return [chain.original]
    return [getattr(chain, f"original{number}") for number in range(chain.ntensors)]


def _own(original: Any) -> Any:
    copy = original.detach().clone()
    if isinstance(original, nn.Parameter):
        return nn.Parameter(copy, requires_grad=original.requires_grad)
    return copy


def _set(child: nn.Module, name: str, value: torch.Tensor, *, trained: bool) -> None:
    """Store the very value that was computed: a right inverse would give another, rounded one."""
    for table in (child._parameters, child._buffers):
        table.pop(name, None)
    if trained:
        child.register_parameter(name, nn.Parameter(value))
    else:
        child.register_buffer(name, value)
