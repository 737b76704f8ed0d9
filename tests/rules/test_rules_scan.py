"""Python loops over a sequence, exported for every length."""

from __future__ import annotations

import pytest

from onnxbuild.rules.scan_loops.spec import ScanLoops
from onnxbuild.steps.export.helping import HELPERS

pytestmark = pytest.mark.e2e

LOOPS = """
    import torch
    from torch import nn

    def selective_scan_ref(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,
                           return_last_state=False):
        delta = delta + delta_bias[..., None]
        delta = nn.functional.softplus(delta)
        state = torch.zeros(u.shape[0], u.shape[1], A.shape[1])
        outputs = []
        for step in range(u.shape[2]):
            now = delta[:, :, step, None]
            state = torch.exp(now * A) * state + now * B[:, None, :, step] * u[:, :, step, None]
            outputs.append((state * C[:, None, :, step]).sum(-1))
        y = torch.stack(outputs, -1) + u * D[None, :, None]
        y = y * nn.functional.silu(z)
        return (y, state) if return_last_state else y

    def rwkv_linear_attention_cpu(time_decay, time_first, key, value, state=None, return_state=False):
        output = torch.zeros_like(key)
        num = torch.zeros_like(key[:, 0])
        den = torch.zeros_like(key[:, 0])
        most = torch.zeros_like(key[:, 0]) - 1e38
        time_decay = -torch.exp(time_decay)
        for step in range(key.size(1)):
            now, seen = key[:, step], value[:, step]
            top = torch.maximum(most, now + time_first)
            old, new = torch.exp(most - top), torch.exp(now + time_first - top)
            output[:, step] = (old * num + new * seen) / (old * den + new)
            top = torch.maximum(most + time_decay, now)
            old, new = torch.exp(most + time_decay - top), torch.exp(now - top)
            num, den, most = old * num + new * seen, old * den + new, top
        return output, None

    class Mamba(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a = nn.Parameter(-torch.rand(6, 4))
            self.d = nn.Parameter(torch.rand(6))
            self.parts = nn.Linear(6, 6 + 4 + 4)

        def forward(self, x):
            delta, b, c = self.parts(x).transpose(1, 2).split([6, 4, 4], dim=1)
            u = x.transpose(1, 2)
            return selective_scan_ref(u, delta, self.a, b, c, self.d, z=u, delta_bias=self.d,
                                      delta_softplus=True, return_last_state=True)

    class Rwkv(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.decay, self.first = nn.Parameter(torch.rand(6)), nn.Parameter(torch.rand(6))
            self.key, self.value = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            return rwkv_linear_attention_cpu(self.decay, self.first, self.key(x), self.value(x))[0]

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.mamba, self.rwkv = Mamba(), Rwkv()

        def forward(self, x):
            return *self.mamba(x), self.rwkv(x)
"""


def test_loops_over_the_sequence_become_scans(bench):
    """The graph has PyTorch's numbers at every length, and one Scan for each loop instead of its steps."""
    bench.write("net.py", LOOPS)
    rule = {"name": "scan", "level": ScanLoops.level, "run": ScanLoops.run, "options": {}}

    result = bench.export(
        "net.py:Both",
        {"x": {"shape": ["batch", "length", 6]}},
        dims={"batch": {"min": 1, "max": 3}, "length": {"min": 1, "max": 9, "trace": 4}},
        replace=[rule],
        exporter="dynamo",
    )

    assert result.worst() < 1e-5
    assert [node.op_type for node in result.model.graph].count("Scan") == 2
    # Asked for here, so that the loops are not written out first; it steps in where that fails.
    assert ScanLoops in HELPERS
