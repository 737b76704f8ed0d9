"""Sizes from which a model makes tensors, and up to whose multiples it pads, stay sizes."""

from __future__ import annotations

import pytest
import sympy
import torch
from torch.utils._sympy.functions import FloorDiv, Mod, PythonMod

from onnxbuild.steps.export import filled
from onnxbuild.steps.export.multiples import simplified

WINDOWS = """
    import torch
    from torch.nn import functional

    class Windows(torch.nn.Module):
        def forward(self, x):
            height, width = x.shape[2:]
            grid = torch.linspace(0.5, height - 0.5, height)[:, None] * torch.linspace(0, 1, width)
            x = functional.pad(x + grid, (0, (4 - width % 4) % 4, 0, -height % 4))
            batch, channels, high, wide = x.shape
            x = x.view(batch, channels, high // 4, 4, wide // 4, 4).transpose(3, 4)
            x = x.contiguous().view(-1, 16).softmax(-1).view(batch, -1)
            return x.cumsum(1) / torch.tensor([[height, width]]).sum()
"""


@pytest.mark.e2e
def test_windows_and_grids_follow_the_sizes(bench):
    """A grid by linspace, a tensor of sizes, and windows over padding are right at sizes of all kinds."""
    bench.write("net.py", WINDOWS)

    result = bench.export(
        "net.py:Windows",
        {"x": {"shape": ["batch", 2, "height", "width"]}},
        dims={
            "batch": {"min": 1, "max": 3},
            "height": {"min": 5, "max": 17, "trace": 6},
            "width": {"min": 5, "max": 18, "trace": 11},
        },
        exporter="dynamo",
    )

    assert result.worst() < 1e-5
    assert result.shapes()["x"] == ["batch", 2, "height", "width"]


@pytest.mark.parametrize("step", [2, 3, 4, 7])
@pytest.mark.parametrize("of", ["padding", "negative", "halves", "further"])
def test_what_is_lacked_to_a_multiple_is_the_same_number(of, step):
    """The formula without a remainder has the value of the remainder, at every size."""
    size = sympy.Symbol("size", integer=True, positive=True)
    formulas = {
        "padding": lambda x: Mod(step - Mod(x, step), step),
        "negative": lambda x: PythonMod(-x, step),
        "halves": lambda x: PythonMod(2 * step - FloorDiv(x + 1, 2), step),
        "further": lambda x: PythonMod(-x - 3, step),
    }

    with simplified():
        found = formulas[of](size)

    assert not found.has(Mod, PythonMod)
    assert [found.subs(size, n) for n in range(1, 60)] == [
        formulas[of](sympy.Integer(n)) for n in range(1, 60)
    ]


def test_what_is_padded_can_be_divided():
    """What a size lacks cancels out where it is added, so that torch sees how many windows there are."""
    size = sympy.Symbol("size", integer=True, positive=True)

    with simplified():
        padded = size + Mod(4 - Mod(size, 4), 4)

    assert padded % 4 == 0
    assert FloorDiv(padded, 4) == FloorDiv(size + 3, 4)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 8, 101])
def test_a_range_put_together_is_that_of_torch(steps):
    """Both ends are met, and one step or none is no error."""
    made = filled._linspace(-1.5, steps - 0.5, steps)

    torch.testing.assert_close(made, torch.linspace(-1.5, steps - 0.5, steps))


@pytest.mark.parametrize(
    "data", [3, 2.5, True, [1, 2], [[1, 2.5], [3, 4]], [True, False], [1, torch.tensor(2)]]
)
def test_a_tensor_put_together_is_that_of_torch(data):
    """It has the values and the type, whatever numbers it is made of."""
    torch.testing.assert_close(filled._tensor(data), torch.tensor(data))
    torch.testing.assert_close(
        filled._new_tensor(torch.zeros(1), data), torch.zeros(1).new_tensor(data)
    )
