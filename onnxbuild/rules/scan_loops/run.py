"""Write recurrences over a sequence with torch's scan, which dynamo exports as ONNX ``Scan``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._higher_order_ops.scan import scan

from onnxbuild.core.values import build
from onnxbuild.rules.calls import call_inside, run_inside
from onnxbuild.rules.scan_loops.spec import ScanLoops

Function = Callable[..., Any]

Place = tuple[dict[str, Any], str]
"""The global names of a module, and which of them is such a function."""


def apply(
    model: nn.Module, options: Mapping[str, Any], run: Callable[[nn.Module], object]
) -> tuple[nn.Module, list[str]]:
    """Have `model` scan wherever it is captured; give it and the functions that it calls."""
    build(ScanLoops, options)
    places = _find(model)
    if not places:
        return model, []
    found: dict[str, None] = {}
    run_inside(model, lambda: _scanning(places, found), run)
    if found:
        call_inside(model, lambda: _scanning(places, found))
    return model, list(found)


def _find(model: nn.Module) -> list[Place]:
    files = {kind.__module__ for child in model.modules() for kind in type(child).__mro__}
    spaces = [vars(sys.modules[file]) for file in sorted(files) if file in sys.modules]
    return [(space, name) for space in spaces for name in FUNCTIONS if callable(space.get(name))]


@contextmanager
def _scanning(places: list[Place], found: dict[str, None]) -> Iterator[None]:
    """Let the functions at `places` scan inside of the block."""
    before = [(space, name, space[name]) for space, name in places]
    for space, name, original in before:
        space[name] = _stand_in(name, original, found)
    try:
        yield
    finally:
        for space, name, original in before:
            space[name] = original


def _stand_in(name: str, original: Function, found: dict[str, None]) -> Function:
    @functools.wraps(original)
    def stand_in(*values: Any, **options: Any) -> Any:
        found[f"{original.__module__}.{name}"] = None
        if not torch.compiler.is_exporting():
            return original(*values, **options)
        result = FUNCTIONS[name](*values, **options)
        return original(*values, **options) if result is NotImplemented else result

    return stand_in


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    *rest: Any,
    **options: Any,
) -> Any:
    """Compute Mamba's recurrence (Gu and Dao 2023), with the parameters of `mamba_ssm`'s ``selective_scan_ref``.

    `u` and `delta` are ``[batch, width, length]``, `a` is ``[width, state]``, `b` and `c` are ``[batch, state, length]``;
    other layouts are left to the model's own.
    """
    given = dict(
        zip(("D", "z", "delta_bias", "delta_softplus", "return_last_state"), rest, strict=False)
    )
    given |= options
    if b.dim() != 3 or c.dim() != 3 or a.is_complex():  # noqa: PLR2004 - axes
        return NotImplemented
    kind = u.dtype
    bias = given.get("delta_bias")
    if bias is not None:
        delta = delta + bias.to(delta.dtype)[..., None]
    if given.get("delta_softplus"):
        delta = nn.functional.softplus(delta)
    # By step first: what a scan goes through.
    steps = delta.permute(2, 0, 1).unsqueeze(-1)
    decay = torch.exp(steps * a)
    growth = (
        steps
        * b.permute(2, 0, 1).unsqueeze(2).to(steps.dtype)
        * u.permute(2, 0, 1).unsqueeze(-1).to(steps.dtype)
    )
    weights = c.permute(2, 0, 1).unsqueeze(2).to(decay.dtype)

    def step(state: torch.Tensor, now: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        state = now[0] * state + now[1]
        return state, (state * now[2]).sum(-1)

    last, outputs = scan(step, torch.zeros_like(decay[0]), (decay, growth, weights))
    y = outputs.permute(1, 2, 0)
    skip, gate = given.get("D"), given.get("z")
    if skip is not None:
        y = y + u * skip[None, :, None]
    if gate is not None:
        y = y * nn.functional.silu(gate)
    y = y.to(torch.promote_types(kind, y.dtype))
    return (y, last) if given.get("return_last_state") else y


def linear_attention(
    time_decay: torch.Tensor,
    time_first: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    state: Any = None,
    return_state: bool = False,
) -> Any:
    """Compute RWKV's attention (Peng and others 2023), with the parameters of `transformers`' function for the CPU."""
    wanted = return_state or state is not None
    if state is None:
        nothing = torch.zeros_like(key[:, 0], dtype=torch.float32)
        state = (nothing, nothing.clone(), nothing - 1e38)
    keys = key.transpose(0, 1).float()
    values = value.transpose(0, 1)
    # Spread over the steps: a scan sees nothing from outside.
    decays = (-torch.exp(time_decay)).expand_as(keys)

    def step(
        state: tuple[torch.Tensor, ...], now: tuple[torch.Tensor, ...]
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        numerator, denominator, most = state
        current, boosted, decay, seen = now
        top = torch.maximum(most, boosted)
        old, new = torch.exp(most - top), torch.exp(boosted - top)
        output = (old * numerator + new * seen) / (old * denominator + new)
        top = torch.maximum(most + decay, current)
        old, new = torch.exp(most + decay - top), torch.exp(current - top)
        return (old * numerator + new * seen, old * denominator + new, top), output

    last, outputs = scan(step, tuple(state), (keys, keys + time_first, decays, values))
    output = outputs.transpose(0, 1).to(key.dtype)
    return output, (list(last) if wanted else None)


FUNCTIONS: Mapping[str, Function] = {
    "mamba_selective_scan": selective_scan,
    "selective_scan_fn": selective_scan,
    "selective_scan_ref": selective_scan,
    "rwkv_linear_attention_cpu": linear_attention,
}
"""By the name of a function, another of the same parameters; it may return `NotImplemented`."""
