"""Make SyncBatchNorm layers ordinary batch normalization, in place.

The layer changes its class and stays the same object: its parameters, buffers, hooks, mode, device and
dtype stay, and so does every reference to it, also from several places. The rank is the one that the
layer's input has on the traced sample; a layer that sees several ranks, or none there, becomes a
`BatchNorm`, which takes any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.rules.surgery import evaluating, hooked, shown
from onnxbuild.rules.sync_batchnorm.spec import SyncBatchNorm

BY_RANK = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


class BatchNorm(nn.modules.batchnorm._BatchNorm):  # type: ignore[misc]
    """Batch normalization of inputs of any rank."""

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - the name of the base
        if input.dim() < 2:  # noqa: PLR2004 - batch and channels
            msg = f"expected at least 2 dimensions, got {input.dim()}"
            raise ValueError(msg)


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Convert every SyncBatchNorm of `model`; give it and the paths of the layers."""
    build(SyncBatchNorm, options)
    layers = {
        path: child for path, child in model.named_modules() if isinstance(child, nn.SyncBatchNorm)
    }
    for path, child in layers.items():
        if type(child).forward is not nn.SyncBatchNorm.forward:
            raise ExportError(
                f"{shown(path)} is a {type(child).__name__}, a SyncBatchNorm with a forward of its own",
                where="replace",
                hint="replace it with a `module` rule, which names the class to use instead",
            )
    ranks = _observe(model, list(layers.values()), run) if layers else {}
    for child in layers.values():
        kinds = {BY_RANK.get(rank, BatchNorm) for rank in ranks.get(id(child), ())}
        child.__class__ = kinds.pop() if len(kinds) == 1 else BatchNorm
        child.__dict__.pop("process_group", None)
    return model, [shown(path) for path in layers]


def _observe(
    model: nn.Module, layers: list[nn.Module], run: Callable[[nn.Module], object]
) -> dict[int, set[int]]:
    """Give the ranks of the inputs that each layer sees in one run, which leaves no trace in the model."""
    ranks: dict[int, set[int]] = {}

    def note(module: nn.Module, values: tuple[Any, ...]) -> None:
        ranks.setdefault(id(module), set()).add(values[0].dim())

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    # In train mode the run would move the running statistics, and draw random numbers.
    with hooked(handles), evaluating(model):
        run(model)
    return ranks
