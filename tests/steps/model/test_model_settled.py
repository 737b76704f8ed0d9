"""Numbers that a model keeps from call to call are set back."""

from __future__ import annotations

import torch
from torch import nn

from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.settled import numbers_kept


class Shrinking(nn.Module):
    """Makes its window smaller after a small input, for good."""

    def __init__(self):
        super().__init__()
        self.window = 4

    def forward(self, x):
        self.window = min(self.window, x.shape[0])
        return x * self.window


class Table(nn.Module):
    """Keeps a table, and how long it is."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(2.0))
        self.length = 2

    def forward(self, x):
        if x.shape[0] > self.length:
            self.table, self.length = torch.arange(x.shape[0]), x.shape[0]
        return x + self.table[: x.shape[0]]


def test_a_call_does_not_depend_on_the_calls_before():
    """A smaller input leaves nothing behind."""
    adapter = Adapter(Shrinking(), ["x"], ["y"])
    one, many = torch.ones(1), torch.ones(6)

    found = [adapter.call([value])["y"][0].item() for value in (many, one, many)]

    assert found == [4, 1, 4]


def test_what_changed_is_named():
    """By the path of the module."""
    model = nn.Sequential(Shrinking())

    with numbers_kept(model) as changed:
        model(torch.ones(2))

    assert changed == ["0.window"]


def test_the_length_of_a_table_stays_with_it():
    """A number beside a tensor that is replaced tells of that tensor."""
    model = Table()

    with numbers_kept(model) as changed:
        model(torch.ones(5))

    assert (model.length, len(model.table), changed) == (5, 5, [])
