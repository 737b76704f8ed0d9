"""Make fake quantization with learned or observed ranges plain arithmetic with fixed ones.

As torch defines it: ``(clamp(round(x / scale + zero), low, high) - zero) * scale``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.ao.quantization import FakeQuantizeBase

from onnxbuild.core.values import build
from onnxbuild.rules.fake_quant.spec import FakeQuant
from onnxbuild.rules.surgery import replace_all, say, shown

PER_CHANNEL = {torch.per_channel_affine, torch.per_channel_symmetric}


class Rounded(nn.Module):  # type: ignore[misc]
    """Rounds to the values of a quantized type."""

    def __init__(self, old: nn.Module) -> None:
        super().__init__()
        self.register_buffer("scale", old.scale.detach().clone())
        self.register_buffer("zero_point", old.zero_point.detach().to(old.scale.dtype))
        self.low, self.high = float(old.quant_min), float(old.quant_max)
        self.axis: int | None = old.ch_axis if old.qscheme in PER_CHANNEL else None

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Round each value, and give it in its own type."""
        scale, zero = self.scale, self.zero_point
        if self.axis is not None:
            shape = [1] * value.dim()
            shape[self.axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        steps = torch.clamp(torch.round(value * (1.0 / scale) + zero), self.low, self.high)
        return ((steps - zero) * scale).to(value.dtype)


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Fix every fake quantization of `model`; give it and their paths."""
    del run
    build(FakeQuant, options)
    return replace_all(model, _fixed)


def _fixed(path: str, module: nn.Module) -> nn.Module | None:
    if not isinstance(module, FakeQuantizeBase):
        return None
    if int(module.observer_enabled[0]):
        say(f"{shown(path)} observes what it is given, so the model changes when it is called")
    new = Rounded(module) if int(module.fake_quant_enabled[0]) else nn.Identity()
    new.train(module.training)
    return new
