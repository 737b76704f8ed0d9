"""The export step where dynamo goes first: `scripted` is the other one."""

from __future__ import annotations

import torch
from torch import nn

from onnxbuild.recipe.opsets import DEFAULT_OPSET
from onnxbuild.steps.export import exporters
from onnxbuild.steps.export.attempts import export
from onnxbuild.steps.export.translations import keep_translations

__all__ = ["export", "warm"]


def warm() -> None:
    """Export something tiny with dynamo, so that forked workers need not fill its registries."""
    torch.set_num_threads(1)
    keep_translations()
    model, value = nn.Linear(2, 2).eval(), torch.zeros(2, 2)
    with exporters.heard():
        torch.onnx.export(
            torch.export.export(model, (value,), dynamic_shapes=({0: torch.export.Dim("n")},)),
            (),
            dynamo=True,
            opset_version=DEFAULT_OPSET,
            verbose=False,
        )
