"""The export step where TorchScript goes first: the same function, beside which the server warms that exporter only.

What dynamo needs takes seconds to load, and is of no use to a low opset.
"""

from __future__ import annotations

import io

import torch
from torch import nn

from onnxbuild.steps.export import exporters
from onnxbuild.steps.export.attempts import export

__all__ = ["export", "warm"]


def warm() -> None:
    """Export something tiny, so that forked workers need not fill their registries."""
    torch.set_num_threads(1)
    model, value = nn.Linear(2, 2).eval(), torch.zeros(2, 2)
    with exporters.heard():
        torch.onnx.export(model, (value,), io.BytesIO(), dynamo=False, opset_version=17)
