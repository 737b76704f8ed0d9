"""Tables that a model fills by the sizes that it sees."""

from __future__ import annotations

import pytest

from onnxbuild.errors import ExportError

pytestmark = pytest.mark.e2e

INPUTS = {"x": {"shape": ["batch", "steps", 4], "dtype": "float32"}}

NET = """
    import torch
    from torch import nn

    def table(steps, scale=1.0):
        return (torch.arange(steps)[:, None] * torch.arange(4)[None, :] * scale).cos()

    class Attribute(nn.Module):
        cos = None

        def forward(self, x):
            if self.cos is None or len(self.cos) < x.shape[1]:
                self.cos = table(x.shape[1])
            return x * self.cos[: x.shape[1]]

    class Buffer(nn.Module):
        def __init__(self):
            super().__init__()
            self.longest = 0
            self.register_buffer("cos", torch.zeros(0, 4), persistent=False)

        def forward(self, x):
            if x.shape[1] > self.longest:
                self.longest = x.shape[1]
                self.register_buffer("cos", table(self.longest), persistent=False)
            return x * self.cos[: x.shape[1]]

    class ByLongest(nn.Module):
        cos = None

        def forward(self, x):
            if self.cos is None or len(self.cos) < x.shape[1]:
                self.cos = table(x.shape[1], 1.0 / x.shape[1])
            return x * self.cos[: x.shape[1]]

    class Grid(nn.Module):
        def __init__(self):
            super().__init__()
            self.grids, self.made_for = [torch.empty(0)], None

        def forward(self, x):
            if self.grids[0].shape[:1] != x.shape[1:2] or self.made_for != x.shape[1]:
                self.grids[0], self.made_for = table(x.shape[1], 1.0 / x.shape[1]), x.shape[1]
            return x * self.grids[0]

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.rotary = Attribute()

        def forward(self, x):
            return self.rotary(x) + 1
"""


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize(
    ("model", "name"), [("Attribute", "cos"), ("Buffer", "cos"), ("Inside", "rotary.cos")]
)
def test_a_table_filled_at_the_first_call_holds_at_every_size(bench, exporter, model, name):
    """The exported graph takes its part of the table, up to the largest sample, and the notes say up to where."""
    bench.write("net.py", NET)

    exported = bench.export(f"net.py:{model}", INPUTS, exporter=exporter)

    assert exported.worst() < 1e-6
    assert exported.notes["tables"] == {"filled": [name], "up_to": {"batch": 5, "steps": 7}}


def test_a_table_that_changes_with_the_longest_input_stays(bench, capsys):
    """Where a longer input changes what shorter ones give, the model is exported as it was: and fails, as it must."""
    bench.write("net.py", NET)

    with pytest.raises(ExportError, match="holds only at the size at which it was traced"):
        bench.export("net.py:ByLongest", INPUTS, exporter="torchscript")

    assert "filled for the largest" not in capsys.readouterr().out


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_table_that_each_size_replaces_is_computed_in_the_graph(bench, exporter, capsys):
    """A grid that is kept for one size, in a list, and made anew for another, holds at every size."""
    bench.write("net.py", NET)

    exported = bench.export("net.py:Grid", INPUTS, exporter=exporter)

    assert exported.worst() < 1e-6
    assert "made anew for each size, and so not kept: grids.0" in capsys.readouterr().out
    assert "tables" not in exported.notes


def test_a_model_without_tables_is_called_once(bench):
    """Nothing is called at other sizes unless a table was filled."""
    bench.write(
        "net.py",
        """
        from torch import nn

        class Net(nn.Module):
            calls = []

            def forward(self, x):
                self.calls.append(x.shape[1])
                return x + 1
        """,
    )

    exported = bench.export("net.py:Net", INPUTS, exporter="torchscript")

    assert "tables" not in exported.notes
    from onnxbuild import entries

    calls = entries.load("net.py:Net").calls
    # The reference has visited the largest size, and nothing after it.
    assert calls.count(7) == 2
