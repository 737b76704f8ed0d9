"""Loops over a size, which only a compiled module keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.fixed import find_loops
from onnxbuild.steps.export.looping import compile_loops

pytestmark = pytest.mark.e2e

DECODER = """
    import torch
    from torch import nn

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.head = nn.LSTMCell(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            state = torch.zeros(x.shape[0], 4)
            memory, outputs = state, []
            for step in range(x.shape[1]):
                state, memory = self.cell(x[:, step], (state, memory))
                outputs.append(self.head(state))
            return torch.stack(outputs, 1), (state, memory)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = Decoder()

        def forward(self, x, *, scale: float = 2.0):
            outputs, (state, memory) = self.decoder(x)
            return {"outputs": outputs * scale, "state": state}
"""


class Loops(nn.Module):
    """Goes through a sequence by a cell."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.cell(x[0])
        for step in range(1, x.shape[0]):
            state = self.cell(x[step], state)
        return state[0] if isinstance(state, tuple) else state


LINE = Loops.forward.__code__.co_firstlineno + 2
HERE = f"{__file__}:{LINE} in forward: for step in range(1, x.shape[0]):"


def test_lines_that_begin_a_loop_are_found():
    """Other lines that make numbers of sizes are none."""
    lines = [
        "net.py:3 in forward: for a in b:",
        "net.py:4 in forward: forms = int(x)",
        "while.py:1 in f: x",
    ]

    assert find_loops(lines) == ("net.py:3 in forward: for a in b:",)


@pytest.mark.parametrize(
    "cell",
    [nn.RNNCell(3, 4), nn.RNNCell(3, 4, bias=False, nonlinearity="relu"), nn.GRUCell(3, 4), nn.GRUCell(3, 4, bias=False)],
    ids=str,
)  # fmt: skip
@torch.no_grad()
def test_a_compiled_loop_gives_what_the_module_gave(cell):
    """Cells are written anew for it, and give torch's numbers, with a state and without."""
    model, x = nn.Sequential(nn.Identity(), Loops(cell)), torch.randn(5, 2, 3)
    wanted = model(x)

    compiled = compile_loops(model, [HERE])

    assert isinstance(compiled[1], torch.jit.ScriptModule)
    torch.testing.assert_close(compiled(x), wanted)


def test_what_cannot_be_compiled_is_told():
    """The message has the compiler's reason, and what helps."""

    class Free(Loops):
        def forward(self, x, **others):
            return super().forward(x)

    with pytest.raises(ExportError, match="does not take the module") as caught:
        compile_loops(Free(nn.GRUCell(3, 4)), [HERE])
    assert "leave that size fixed" in str(caught.value.hint)
    with pytest.raises(ExportError, match="no module's code"):
        compile_loops(nn.Linear(2, 2), [HERE])


def test_a_loop_over_a_size_is_a_loop_of_the_graph(bench):
    """A decoder's steps may be as many as the input has, and its other code is traced as ever."""
    bench.write("net.py", DECODER)

    exported = bench.export("net.py:Net", {"x": {"shape": ["batch", "steps", 3]}}, exporter="auto")

    assert exported.worst() < 1e-5
    assert exported.notes["exporter"]["name"] == "torchscript compiled"
    assert "for step in range(x.shape[1])" in exported.notes["loops"][0]
    assert "Loop" in exported.operators()
    assert exported.shapes()["outputs"] == ["batch", "steps", 2]
