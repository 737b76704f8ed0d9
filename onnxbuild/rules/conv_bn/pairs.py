"""Find, in one run of a model, the layers whose results go into one batch normalization and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakIdKeyDictionary

from onnxbuild.rules.surgery import hooked, say, shown

LAYERS = {
    nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5,
    nn.ConvTranspose1d: 3, nn.ConvTranspose2d: 4, nn.ConvTranspose3d: 5,
    nn.Linear: 2,
}  # fmt: skip
"""The rank that a result has in which axis 1 is that of the channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A layer and the batch normalization of its results."""

    layer_path: str
    layer: nn.Module
    norm_path: str
    norm: nn.Module
    shape: tuple[int, ...]
    """Of an input of the layer."""


def find_pairs(model: nn.Module, run: Callable[[nn.Module], object]) -> list[Pair]:
    """Give the pairs that can be folded, in the order of the model's modules."""
    layers = {path: child for path, child in model.named_modules() if _kind(child) is not None}
    norms = {path: child for path, child in model.named_modules() if _is_norm(child)}
    if not layers or not norms:
        return []
    # Before this adds hooks of its own.
    reasons = {path: _unfit(child) for path, child in {**layers, **norms}.items()}
    watch = _Watch(layers, norms)
    handles = [
        *(layer.register_forward_hook(watch.leave_layer) for layer in layers.values()),
        *(norm.register_forward_pre_hook(watch.enter_norm) for norm in norms.values()),
        *(norm.register_forward_hook(watch.leave_norm) for norm in norms.values()),
        model.register_forward_hook(watch.leave_model),
    ]
    with hooked(handles), watch:
        run(model)
    pairs = []
    for path, norm in norms.items():
        layer_path, why = watch.judge(norm)
        if layer_path is None:
            continue
        why = why or reasons[layer_path] or reasons[path]
        if why:
            say(f"{shown(path)} after {shown(layer_path)}: {why}: left")
            continue
        layer = layers[layer_path]
        shape = watch.shapes[id(layer)]
        pairs.append(
            Pair(layer_path=layer_path, layer=layer, norm_path=path, norm=norm, shape=shape)
        )
    return pairs


def _kind(module: nn.Module) -> int | None:
    return next((rank for kind, rank in LAYERS.items() if isinstance(module, kind)), None)


def _is_norm(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
    )


def _unfit(module: nn.Module) -> str:
    """Say why a module cannot be one of a pair, whatever it is given; empty if it can."""
    bases = [*LAYERS, nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm]
    known = {kind.forward for kind in bases}
    named = type(module).__name__
    if parametrize.is_parametrized(module):
        return "its weight is parametrized; fold that first"
    if type(module).forward not in known or "forward" in vars(module):
        return f"{named} has a forward of its own"
    for kind in LAYERS:
        own = getattr(type(module), "_conv_forward", None)
        if isinstance(module, kind) and own is not getattr(kind, "_conv_forward", None):
            return f"{named} has a forward of its own"
    if module._forward_hooks or module._forward_pre_hooks:
        return f"{named} has hooks"
    return ""


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Follows the results of layers through a run."""

    def __init__(self, layers: dict[str, nn.Module], norms: dict[str, nn.Module]) -> None:
        super().__init__()
        self.paths = {id(layer): path for path, layer in layers.items()}
        self.shapes: dict[int, tuple[int, ...]] = {}
        """By layer, the shape of an input."""
        self._norms = {id(norm) for norm in norms.values()}
        self._layers = {id(layer): layer for layer in layers.values()}
        self._results: Any = WeakIdKeyDictionary()
        self._calls: dict[int, int] = {}
        self._into: dict[int, list[int | None]] = {}
        self._elsewhere: set[int] = set()
        self._running: list[tuple[int, Any]] = []

    def leave_layer(self, module: nn.Module, values: Any, result: Any) -> None:
        """Note a result, and that the layer was called."""
        self._calls[id(module)] = self._calls.get(id(module), 0) + 1
        if values and isinstance(values[0], torch.Tensor) and isinstance(result, torch.Tensor):
            self._results[result] = id(module)
            self.shapes[id(module)] = tuple(values[0].shape)
            if result.dim() != _kind(module):
                self._elsewhere.add(id(module))
        else:
            self._elsewhere.add(id(module))

    def enter_norm(self, module: nn.Module, values: Any) -> None:
        """Note which layer's result goes into a normalization."""
        value = values[0] if values else None
        source = self._results.get(value) if isinstance(value, torch.Tensor) else None
        self._into.setdefault(id(module), []).append(source)
        self._running.append((id(module), value))

    def leave_norm(self, module: nn.Module, values: Any, result: Any) -> None:
        """Note that the normalization is done."""
        del module, values, result
        self._running.pop()

    def leave_model(self, module: nn.Module, values: Any, result: Any) -> None:
        """Note which results the model itself gives."""
        del module, values
        self._note(result)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note((args, kwargs))
        return func(*args, **(kwargs or {}))

    def _note(self, values: Any) -> None:
        for item in tree_iter(values):
            if isinstance(item, torch.Tensor) and item in self._results:
                inside = self._running[-1][1] if self._running else None
                if item is not inside:
                    self._elsewhere.add(self._results[item])

    def judge(self, norm: nn.Module) -> tuple[str | None, str]:
        """Give the layer before a normalization, if there is one, and why the two are no pair."""
        into = self._into.get(id(norm), [])
        sources = set(into)
        first = next((source for source in into if source is not None), None)
        if first is None:
            return None, ""
        path = self.paths[first]
        users = sum(first in other for other in self._into.values())
        if len(sources) > 1 or users > 1 or self._calls[first] != len(into):
            return path, "they are not always together"
        if first in self._elsewhere:
            return path, "its result is used elsewhere too, or has its channels on another axis"
        if self._layers[first].weight.dtype != norm.running_mean.dtype:
            return path, "they have different types"
        return path, ""
