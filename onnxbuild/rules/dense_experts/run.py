"""Compute all experts of a mixture, and weigh them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import build
from onnxbuild.rules.dense_experts.spec import DenseExperts
from onnxbuild.rules.surgery import shown

FLAGS = ("has_gate", "has_bias", "is_transposed", "num_experts", "_apply_gate", "down_proj")
"""What `transformers` gives every class of experts that can compute in several ways."""


def apply(
    model: nn.Module, options: Mapping[str, Any], _: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace how mixtures of experts in `model` compute; give it and where they are."""
    build(DenseExperts, options)
    found = []
    for path, child in model.named_modules():
        if all(hasattr(child, flag) for flag in FLAGS):
            child.forward = MethodType(_forward, child)
            found.append(shown(path))
    return model, found


def _forward(
    self: nn.Module, tokens: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Give for each of `tokens` ``[count, width]`` the sum of all experts, by the `weights` of the `chosen` ones.

    `chosen` and `weights` are ``[count, k]``: the router's best experts for each token.
    """
    numbers = torch.arange(self.num_experts, device=chosen.device)
    is_chosen = (chosen.unsqueeze(-1) == numbers).to(weights.dtype)
    share = (weights.unsqueeze(-1) * is_chosen).sum(1)
    first = "gate_up_proj" if self.has_gate else "up_proj"
    hidden = _linear(self, tokens.unsqueeze(0), first)
    hidden = self._apply_gate(hidden) if self.has_gate else self.act_fn(hidden)
    given = _linear(self, hidden, "down_proj")
    if getattr(self, "has_post_expert_norm", False):
        given = self.post_expert_norm(given)
    return (given * share.t().unsqueeze(-1)).sum(0).to(tokens.dtype)


def _linear(experts: nn.Module, values: torch.Tensor, name: str) -> torch.Tensor:
    """Apply the layer `name` of all experts: ``[experts or 1, count, in]`` to ``[experts, count, out]``."""
    weight = getattr(experts, name)
    weight = weight if experts.is_transposed else weight.transpose(1, 2)
    product = torch.matmul(values, weight)
    return product + getattr(experts, f"{name}_bias").unsqueeze(1) if experts.has_bias else product
