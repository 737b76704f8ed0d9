"""Recurrent layers as operators of which torch.export knows the sizes: its own ways through them fix how long they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from onnxbuild.core.values import build
from onnxbuild.rules.calls import replace_calls
from onnxbuild.rules.recurrent.spec import Recurrent

KINDS = {"lstm": 2, "gru": 1, "rnn_tanh": 1, "rnn_relu": 1}
"""By name, how many states a layer has."""

SETTINGS = (
    "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional,"
    " bool batch_first"
)

LIBRARY = torch.library.Library("onnxbuild", "FRAGMENT")


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Replace the calls of recurrent layers in `model`; give it and where they were."""
    build(Recurrent, options)
    return replace_calls(model, {getattr(torch, name): _call(name) for name in KINDS}, run)


def _call(name: str) -> Callable[..., Any]:
    def call(x: torch.Tensor, hx: Any, params: Any, *settings: Any, **named: Any) -> Any:
        if not isinstance(params, list | tuple):
            # A packed sequence, of which the second argument is the sizes.
            return NotImplemented
        return getattr(torch.ops.onnxbuild, name)(x, hx, params, *settings, **named)

    return call


def _fake(
    x: torch.Tensor, hx: Any, params: Sequence[torch.Tensor], *settings: Any
) -> tuple[torch.Tensor, ...]:
    del params
    bidirectional = settings[-2]
    states = hx if isinstance(hx, list | tuple) else [hx]
    made = x.new_empty(*x.shape[:2], states[0].shape[-1] * (2 if bidirectional else 1))
    return (made, *[torch.empty_like(state) for state in states])


def _define(name: str, states: int) -> None:
    hx = "Tensor hx" if states == 1 else "Tensor[] hx"
    given = ", ".join(["Tensor"] * (1 + states))
    LIBRARY.define(f"{name}(Tensor input, {hx}, {SETTINGS}) -> ({given})")
    LIBRARY.impl(name, getattr(torch, name), "CompositeExplicitAutograd")
    torch.library.register_fake(f"onnxbuild::{name}", _fake, lib=LIBRARY)


for _name, _states in KINDS.items():
    _define(_name, _states)
