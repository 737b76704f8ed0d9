"""What a program of torch.export takes, as it says itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onnxbuild.steps.model.program import read_inputs

pytestmark = pytest.mark.e2e


def test_sizes_that_follow_from_others_are_expressions(tmp_path):
    """In the names of the axes that they follow from, wherever these stand."""

    class Net(nn.Module):
        def forward(self, mask, past, ids):
            return torch.cat([past, ids], 1) * mask

    auto = torch.export.Dim.AUTO
    sizes = (torch.zeros(1, 7), torch.zeros(1, 3), torch.zeros(1, 4))
    shapes = ({1: auto}, {1: auto}, {1: auto})
    path = str(tmp_path / "program.pt2")
    torch.export.save(torch.export.export(Net(), sizes, dynamic_shapes=shapes), path)

    inputs, bounds = read_inputs(path)

    found = {name: item.shape[1] for name, item in inputs.items()}
    assert found["past"] == "past_1"
    assert found["mask"] in {"past_1 + ids_1", "ids_1 + past_1", "mask_1"}
    assert set(bounds) >= {"past_1", "ids_1"}


def test_multiples_are_expressions(tmp_path):
    """A derived dimension of torch's, too."""

    class Net(nn.Module):
        def forward(self, x, pairs):
            return x.repeat(1, 2) + pairs

    k = torch.export.Dim("k", min=2, max=9)
    path = str(tmp_path / "program.pt2")
    torch.export.save(
        torch.export.export(
            Net(), (torch.zeros(1, 3), torch.zeros(1, 6)), dynamic_shapes=({1: k}, {1: 2 * k})
        ),
        path,
    )

    inputs, bounds = read_inputs(path)

    assert [item.shape[1] for item in inputs.values()] == ["x_1", "2*x_1"]
    assert (bounds["x_1"].min, bounds["x_1"].max) == (2, 9)
