"""Recurrent layers as ONNX's LSTM, GRU and RNN.

A projected LSTM hands on ``h = P s`` of its inner state s, and its gates take ``R h``. ONNX has no such thing, but
``R h = (R P) s``: it is an ordinary LSTM over s, whose outputs are multiplied with P. A state that it begins with is
no P s. It takes part in the first step alone, so it is put there as more features of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxbuild.errors import ExportError
from onnxbuild.rules.building import Builder

ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Which of torch's gates ONNX has at each place."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of one layer and direction, as torch has them."""

    w: ir.Value
    r: ir.Value
    biases: Sequence[ir.Value]
    projection: ir.Value | None


def apply(options: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    """Give the translations."""
    del options
    tables = {
        "lstm": lstm,
        "gru": _single("GRU", linear_before_reset=1),
        "rnn_tanh": _single("RNN", activation="Tanh"),
        "rnn_relu": _single("RNN", activation="Relu"),
    }
    torch_own = {f"aten::{name}.input": translate for name, translate in tables.items()}
    return torch_own | {f"onnxbuild::{name}": translate for name, translate in tables.items()}


def lstm(
    op: Builder,
    x: ir.Value,
    hx: Sequence[ir.Value],
    params: Sequence[ir.Value],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[ir.Value, ...]:
    """Give the outputs, the last state and the last cell."""
    settings = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
    return _run(op, "LSTM", x, list(hx), params, settings, {})


def _single(kind: str, activation: str = "", **attributes: Any) -> Callable[..., Any]:
    """Translate a layer that has one state."""

    def translate(
        op: Builder,
        x: ir.Value,
        hx: ir.Value,
        params: Sequence[ir.Value],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[ir.Value, ...]:
        settings = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
        named = {"activations": [activation] * (2 if bidirectional else 1)} if activation else {}
        return _run(op, kind, x, [hx], params, settings, {**attributes, **named})

    return translate


def _run(
    op: Builder,
    kind: str,
    x: ir.Value,
    states: list[ir.Value],
    params: Sequence[ir.Value],
    settings: tuple[bool, int, float, bool, bool, bool],
    attributes: Mapping[str, Any],
) -> tuple[ir.Value, ...]:
    has_biases, layers, dropout, train, bidirectional, batch_first = settings
    if train and dropout:
        raise ExportError(
            "a recurrent layer with dropout gives other numbers each time",
            where="replace",
            hint="put the model into eval mode, or use the rule dropout",
        )
    if batch_first:
        x = op.Transpose(x, perm=[1, 0, 2])
    ways = 2 if bidirectional else 1
    steps = op.size(x, 0)
    each = len(params) // (layers * ways)
    found: list[list[ir.Value]] = []
    for layer in range(layers):
        own = [params[(layer * ways + way) * each :][:each] for way in range(ways)]
        weights = [
            _Weights(
                w=group[0],
                r=group[1],
                biases=group[2:4] if has_biases else (),
                projection=group[-1] if each in {3, 5} else None,
            )
            for group in own
        ]
        begins = [op.slice(state, [layer * ways], [(layer + 1) * ways], [0]) for state in states]
        x, last = _layer(op, kind, x, begins, weights, steps, attributes)
        found.append(last)
    if batch_first:
        x = op.Transpose(x, perm=[1, 0, 2])
    ends = [op.Concat(*row, axis=0) if layers > 1 else row[0] for row in zip(*found, strict=True)]
    return (x, *ends)


def _layer(
    op: Builder,
    kind: str,
    x: ir.Value,
    begins: list[ir.Value],
    weights: Sequence[_Weights],
    steps: Any,
    attributes: Mapping[str, Any],
) -> tuple[ir.Value, list[ir.Value]]:
    """Give a layer's outputs [time, batch, features], and the last of each state."""
    hidden = (op.sizes(weights[0].w)[0] or 0) // len(ORDERS[kind])
    inputs = [item.w for item in weights]
    rows = [item.r for item in weights]
    projections = [item.projection for item in weights if item.projection is not None]
    if projections:
        x, inputs = _begin(op, x, begins[0], weights, steps)
        rows = [op.MatMul(r, p) for r, p in zip(rows, projections, strict=True)]
        # What the state begins with is among the input, and the cell has the inner size.
        begins = [op.Mul(begins[1], op.like(0.0, x)), begins[1]]
    biases = [
        op.Concat(*[_reorder(op, kind, bias) for bias in item.biases], axis=0)
        for item in weights
        if item.biases
    ]
    made = getattr(op, kind)(
        x,
        _stack(op, [_reorder(op, kind, value) for value in inputs]),
        _stack(op, [_reorder(op, kind, value) for value in rows]),
        _stack(op, biases) if biases else None,
        None,
        *begins,
        hidden_size=hidden,
        direction="bidirectional" if len(weights) > 1 else "forward",
        **attributes,
    )
    outputs, *last = made
    size = hidden
    if projections:
        turned = _stack(op, [op.Transpose(value, perm=[1, 0]) for value in projections])
        size = op.sizes(projections[0])[0] or 0
        outputs, last[0] = op.MatMul(outputs, turned), op.MatMul(last[0], turned)
    # The time is first, then the ways.
    outputs = op.reshape(op.Transpose(outputs, perm=[0, 2, 1, 3]), [steps, -1, size * len(weights)])
    return outputs, last


def _begin(
    op: Builder, x: ir.Value, begin: ir.Value, weights: Sequence[_Weights], steps: Any
) -> tuple[ir.Value, list[ir.Value]]:
    """Put the state that each way begins with among the features of its first step."""
    places = op.reshape(op.arange(steps), [-1, 1, 1])
    final = op.Sub(op.reshape(op.as_int(steps), [1, 1, 1]), op.constant(1))
    parts, inputs = [x], [[item.w] for item in weights]
    for way, item in enumerate(weights):
        state = op.slice(begin, [way], [way + 1], [0])
        first = op.Equal(places, op.constant(0) if way == 0 else final)
        parts.append(op.Mul(op.Cast(first, to=int(x.dtype or ir.DataType.FLOAT)), state))
        for number, row in enumerate(inputs):
            row.append(item.r if number == way else _nothing(op, item.r))
    return op.Concat(*parts, axis=2), [op.Concat(*row, axis=1) for row in inputs]


def _nothing(op: Builder, value: ir.Value) -> ir.Value:
    sizes = [size or 0 for size in op.sizes(value)]
    return op.constant(np.zeros(sizes), value.dtype or ir.DataType.FLOAT)


def _reorder(op: Builder, kind: str, value: ir.Value) -> ir.Value:
    order = ORDERS[kind]
    if len(order) == 1:
        return value
    size = (op.sizes(value)[0] or 0) // len(order)
    gates = [op.slice(value, [gate * size], [(gate + 1) * size], [0]) for gate in order]
    return op.Concat(*gates, axis=0)


def _stack(op: Builder, values: Sequence[ir.Value]) -> ir.Value:
    rows = [op.unsqueeze(value, [0]) for value in values]
    return rows[0] if len(rows) == 1 else op.Concat(*rows, axis=0)
