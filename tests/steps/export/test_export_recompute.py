"""Parts of a model that it computes again for gradients."""

from __future__ import annotations

import pytest
from torch.utils.checkpoint import CheckpointFunction

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True"),
]


def test_what_is_computed_again_is_traced_once(bench):
    """The reentrant kind, which TorchScript cannot trace, is the plain call; torch is as before afterwards."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn
        from torch.utils.checkpoint import checkpoint, checkpoint_sequential

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

            def forward(self, x):
                x = checkpoint(self.layers[0], x, use_reentrant=True)
                return checkpoint_sequential(self.layers, 2, x, use_reentrant=True)
        """,
    )

    exported = bench.export(
        "net.py:Net", {"x": {"shape": ["batch", 4]}}, exporter="torchscript", opset=17
    )

    assert exported.worst() < 1e-6
    assert "apply" not in vars(CheckpointFunction)
