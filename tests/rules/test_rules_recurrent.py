"""Recurrent layers of all kinds: at every length, with both exporters."""

from __future__ import annotations

import pytest

from onnxbuild import registry

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]

NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.projected = nn.LSTM(4, 6, proj_size=3, bidirectional=True, bias=False)
            self.gru = nn.GRU(6, 5, 2)
            self.rnn = nn.RNN(5, 4, nonlinearity="relu", bidirectional=True, batch_first=True)

        def forward(self, x, state, cell):
            y, (last, end) = self.projected(x, (state, cell))
            y, _ = self.gru(y)
            y, deepest = self.rnn(y.transpose(0, 1))
            # The sizes go on to what follows.
            rows = y.flatten(0, 1).reshape(y.shape[0], y.shape[1], 8)
            return rows, last, end, deepest
"""
INPUTS = {
    "x": {"shape": ["steps", "batch", 4]},
    "state": {"shape": [2, "batch", 3]},
    "cell": {"shape": [2, "batch", 6]},
}
STEPS = {"steps": {"min": 1, "trace": 5}}


@pytest.mark.parametrize(("exporter", "opset"), [("torchscript", 9), ("dynamo", 18)])
def test_layers_of_all_kinds_run_as_long_as_asked(bench, exporter, opset):
    """TorchScript refuses a projected LSTM, and torch.export fixes the number of steps; with the rule both are right,
    from every state that a layer begins with.
    """
    bench.write("net.py", NET)
    kind = registry.resolve("rules", "recurrent")
    rule = {"name": "recurrent", "level": kind.level, "run": kind.run, "options": {}}

    exported = bench.export(
        "net.py:Net", INPUTS, dims=STEPS, replace=[rule],
        exporter=exporter, opset=opset, auto_rules=False,
    )  # fmt: skip

    assert exported.worst() < 1e-5
    assert exported.shapes()["x"] == ["steps", "batch", 4]
    assert exported.operators().count("LSTM") == 1
    (fired,) = exported.notes["rules"]
    assert fired["where"] == ["projected", "gru", "rnn"]
