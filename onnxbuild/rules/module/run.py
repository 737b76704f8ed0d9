"""Replace the instances of a module class by another's, carrying over what matches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from onnxbuild import entries
from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.module.spec import Module
from onnxbuild.rules.surgery import replace_all, say

Parameter = inspect.Parameter


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace every instance of exactly ``module``; give the model and the paths of the replaced."""
    del run
    rule = build(Module, options)
    wanted = entries.load(rule.module)
    if not (isinstance(wanted, type) and issubclass(wanted, nn.Module)):
        raise ExportError(f"{rule.module} is no nn.Module class", where="replace")
    replacement = entries.load(rule.with_)
    if not callable(replacement):
        raise ExportError(f"{rule.with_} is no class or function", where="replace")

    def make(path: str, old: nn.Module) -> nn.Module | None:
        return _replace(old, replacement, rule, path) if type(old) is wanted else None

    return replace_all(model, make)


def _replace(old: nn.Module, replacement: Any, rule: Module, path: str) -> nn.Module:
    if not isinstance(replacement, type):
        new = replacement(old)
        if not isinstance(new, nn.Module):
            raise ExportError(
                f"{rule.with_} returned a {type(new).__name__} for {path}, no nn.Module",
                where="replace",
                hint="the function gets the old module and returns the new one",
            )
    else:
        new = replacement(**_arguments(old, replacement, rule, path))
        _carry_over(old, new, path)
    new.train(old.training)
    return new


def _arguments(old: nn.Module, kind: type, rule: Module, path: str) -> dict[str, Any]:
    """Give the constructor's arguments that the old module has as attributes."""
    found: dict[str, Any] = {}
    missing = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
            continue
        if name in {"device", "dtype"}:
            first = next((p for p in old.parameters() if p.is_floating_point()), None)
            if first is not None:
                found[name] = getattr(first, name)
        elif hasattr(old, name):
            value = getattr(old, name)
            # Linear and its like keep the parameter under the name of the switch.
            is_switch = name == "bias" and (value is None or isinstance(value, torch.Tensor))
            found[name] = value is not None if is_switch else value
        elif parameter.default is Parameter.empty:
            missing.append(name)
    if missing:
        raise ExportError(
            f"{rule.with_} needs {', '.join(missing)}, which {type(old).__name__} at {path} does not have",
            where="replace",
            hint="name a function instead, which gets the old module and returns the new one",
        )
    return found


def _carry_over(old: nn.Module, new: nn.Module, path: str) -> None:
    """Give the new module the parameters and buffers of the same name and shape; the rest is said."""
    mine = dict(_tensors(new))
    theirs = dict(_tensors(old))
    for name, tensor in theirs.items():
        if name not in mine:
            say(f"{path}: {name} has no place in {type(new).__name__}")
        elif mine[name].shape != tensor.shape:
            say(
                f"{path}: {name} has another shape in {type(new).__name__}, and is not carried over"
            )
        else:
            owner, _, attribute = name.rpartition(".")
            module = new.get_submodule(owner)
            table = module._parameters if attribute in module._parameters else module._buffers
            is_parameter = isinstance(tensor, nn.Parameter)
            if table is module._parameters and not is_parameter:
                tensor = nn.Parameter(tensor, requires_grad=False)  # noqa: PLW2901
            table[attribute] = tensor.detach() if table is module._buffers else tensor
    first = next(iter(theirs.values()), None)
    for name, tensor in mine.items():
        if name not in theirs:
            say(
                f"{path}: {name} of {type(new).__name__} is new, and has the value that it was made with"
            )
            if first is not None:
                tensor.data = tensor.data.to(first.device)


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]
