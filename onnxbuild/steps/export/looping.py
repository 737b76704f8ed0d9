"""Loops over a size: compiled, so that they get into the graph as loops.

All exporters run a model's Python code, and write a loop out as often as it ran on the example. torch.jit.script
reads the code instead, and what it makes of ``for step in range(x.shape[1])`` becomes ONNX's ``Loop``. It reads less
of Python than there is, so only the modules that loop are compiled, and only where nothing else has helped.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from types import FunctionType

import torch
from torch import nn
from torch.nn import functional

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.diagnosis import LOOP_HINT, reason
from onnxbuild.steps.export.fixed import LOOP

SHOWN = 3
"""Lines of a message that are shown."""


def compile_loops(model: nn.Module, loops: Sequence[str]) -> nn.Module:
    """Compile the modules whose code has these loops; give the model, itself compiled where it is one of them.

    Raises `ExportError` where there is none, or torch.jit.script does not take it.
    """
    owners = list(_owners(model, loops))
    if not owners:
        raise ExportError("the loops over sizes are in no module's code", where="export")
    for owner in owners:
        _replace_cells(owner)
        compiled = _compile(owner)
        if owner is model:
            return compiled
        for parent in model.modules():
            for name, child in parent._modules.items():
                if child is owner:
                    parent._modules[name] = compiled
    return model


def _owners(model: nn.Module, loops: Sequence[str]) -> Iterator[nn.Module]:
    """Give the outermost modules with a method in which one of the loops is."""
    inside: set[nn.Module] = set()
    for child in model.modules():
        if child not in inside and any(_has(child, loop) for loop in loops):
            inside.update(child.modules())
            yield child


def _has(module: nn.Module, loop: str) -> bool:
    found = LOOP.match(loop)
    assert found is not None  # noqa: S101 - they have been found by it
    file, line = found[1], int(found[2])
    functions = (
        value
        for kind in type(module).__mro__
        if kind is not nn.Module
        for value in vars(kind).values()
        if isinstance(value, FunctionType)
    )
    return any(
        function.__code__.co_filename.endswith(file)
        and line in {at for _, _, at in function.__code__.co_lines()}
        for function in functions
    )


def _compile(module: nn.Module) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.script(module)
    except Exception as error:
        lines = reason(error).strip().splitlines()[:SHOWN]
        raise ExportError(
            "torch.jit.script, which keeps loops, does not take the module: " + "\n  ".join(lines),
            where="export",
            hint=LOOP_HINT,
        ) from error


class _Cell(nn.Module):  # type: ignore[misc]
    """A recurrent cell of torch's without its checks, which have no ONNX form."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        super().__init__()
        self.hidden_size = cell.hidden_size
        self.weight_ih, self.weight_hh = cell.weight_ih, cell.weight_hh
        self.bias_ih, self.bias_hh = cell.bias_ih, cell.bias_hh
        self.is_relu = getattr(cell, "nonlinearity", "tanh") == "relu"


class _Recurrent(_Cell):
    def forward(self, input: torch.Tensor, hx: torch.Tensor | None = None) -> torch.Tensor:  # noqa: A002
        given = functional.linear(input, self.weight_ih, self.bias_ih)
        state = torch.zeros_like(given) if hx is None else hx
        total = given + functional.linear(state, self.weight_hh, self.bias_hh)
        return torch.relu(total) if self.is_relu else torch.tanh(total)


class _Gated(_Cell):
    def forward(self, input: torch.Tensor, hx: torch.Tensor | None = None) -> torch.Tensor:  # noqa: A002
        reset, update, new = functional.linear(input, self.weight_ih, self.bias_ih).chunk(3, -1)
        state = torch.zeros_like(new) if hx is None else hx
        kept = functional.linear(state, self.weight_hh, self.bias_hh).chunk(3, -1)
        new = torch.tanh(new + torch.sigmoid(reset + kept[0]) * kept[2])
        return new + torch.sigmoid(update + kept[1]) * (state - new)


class _LongShort(_Cell):
    def forward(
        self,
        input: torch.Tensor,  # noqa: A002
        hx: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        given = functional.linear(input, self.weight_ih, self.bias_ih)
        nothing = torch.zeros_like(given.chunk(4, -1)[0])
        state, memory = (nothing, nothing) if hx is None else hx
        total = given + functional.linear(state, self.weight_hh, self.bias_hh)
        enter, forget, new, leave = total.chunk(4, -1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(memory), memory


CELLS = {nn.RNNCell: _Recurrent, nn.GRUCell: _Gated, nn.LSTMCell: _LongShort}


def _replace_cells(module: nn.Module) -> None:
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            other = CELLS.get(type(child))
            if other is not None:
                parent._modules[name] = other(child)
