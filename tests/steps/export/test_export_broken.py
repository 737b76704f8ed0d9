"""Models that cannot be exported: what is wrong, where, and what helps, in words and without a graph."""

from __future__ import annotations

import textwrap

import pytest

from onnxbuild.errors import ExportError

pytestmark = pytest.mark.e2e

HEAD = """
    import functools, torch
    from torch import nn

    @torch.library.custom_op("mine::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @twice.register_fake
    def _(x):
        return torch.empty_like(x)

    class Bessel(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Identity(), Bessel())
            self.register_buffer("seen", torch.zeros(4))

        def forward(self, x):
            exporting = torch.compiler.is_exporting() or torch.jit.is_tracing()
"""

BOTH = ("dynamo", "torchscript")
BROKEN = {
    "operator": ("return self.inner(x)", BOTH,
        ["no translation of the operator", "bessel_j0", "net.py:15 in forward", "inner.1"], "replace:"),
    "custom": ("return torch.ops.mine.twice(x)", BOTH,
        ["mine", "twice is an operator of somebody's own", "net.py:25"], "replace:"),
    "branch": ("return x * 2 if x.sum() > 0 else x", ("dynamo",),
        ["decides by values", "net.py:25 in forward: return x * 2 if x.sum() > 0 else x"], "torch.where"),
    "number": ("return x[:, : int(x.abs().sum().item()) % 3 + 1]", ("dynamo",),
        ["makes a number of Python's", "net.py:25"], "size of an input"),
    "numpy": ("return torch.from_numpy(x.numpy() * 2)", ("dynamo",),
        ["from PyTorch to NumPy", "net.py:25"], "with torch"),
    "array": ("return torch.from_numpy(x.numpy() * 2)", ("torchscript",),
        ["came out fixed", "net.py:25 in forward: return torch.from_numpy"], ""),
    "gpu": ("return x + torch.ones(4).cuda() if exporting else x + 1", BOTH,
        ["moves tensors to a GPU", "net.py:25"], "x.device"),
    "package": ("if exporting: import no_such_package\nreturn x", BOTH,
        ["imports no_such_package", "net.py:25"], "install it"),
    "complex": ("return torch.matrix_exp(torch.view_as_complex(x.reshape(-1, 1, 1, 2))).abs()", ("torchscript",),
        ["complex numbers", "view_as_complex", "net.py:25"], "pairs of real numbers"),
    "later": ("return torch.bitwise_and(x.int(), 3).float()", ("torchscript",),
        ["bitwise_and at opset 17", "opset 18"], "say `opset: 18` or more"),
    "fixed": ("return torch.stack([row * number for number, row in enumerate(x)])", ("dynamo",),
        ["batch", "came out fixed", "net.py:25 in forward: return torch.stack("], ""),
    "traced": ("return x.reshape(int(x.shape[0]), 4) * len(x)", ("torchscript",),
        ["batch (traced at 2) came out fixed", "net.py:25 in forward: return x.reshape(int(x"], ""),
    "view": ("y = x.clone(); y.data[0] = 0; return y", ("dynamo",),
        ["in place"], "clone()"),
    "pointer": ("return x * 2 if x.data_ptr() else x", ("dynamo",),
        ["where a tensor lies in memory", "net.py:25"], "`is`"),
    "key": ("return x * {2: 3.0}.get(x.shape[0], 1.0)", ("dynamo",),
        ["looks something up by a size", "net.py:25"], "largest size"),
}  # fmt: skip
STATE = "self.seen.add_(x.sum(0).detach()); return x + self.seen"


def write(bench, body):
    text = textwrap.dedent(HEAD) + textwrap.indent(body, " " * 8) + "\n"
    bench.write("net.py", text)


@pytest.mark.parametrize(
    ("name", "exporter"), [(name, way) for name, (_, ways, _, _) in BROKEN.items() for way in ways]
)
def test_broken_models_are_explained(bench, name, exporter):
    """The message names what is wrong, the line and the module; the hint what to do; neither is long."""
    body, _, parts, hint = BROKEN[name]
    write(bench, body)
    opset = 17 if exporter == "torchscript" else 18

    with pytest.raises(ExportError) as caught:
        bench.export("net.py:Net", {"x": {"shape": ["batch", 4]}}, opset=opset, exporter=exporter)

    assert all(part in caught.value.what for part in parts), caught.value.what
    assert hint in caught.value.hint
    assert len(caught.value.what) < 800
    assert "graph(" not in caught.value.what


def test_what_a_model_keeps_from_call_to_call_is_named(bench):
    """A graph keeps nothing, so it is not the model; `auto` refuses it, who asks for an exporter is told."""
    write(bench, STATE)
    inputs = {"x": {"shape": ["batch", 4]}}

    asked = bench.export("net.py:Net", inputs, opset=18, exporter="torchscript")
    with pytest.raises(ExportError) as caught:
        bench.export("net.py:Net", inputs, opset=18)

    assert asked.notes["changed_state"] == ["seen"]
    assert "the model changes seen when it is called" in caught.value.what
    assert "an input and an output" in caught.value.hint


def test_a_model_that_draws_random_numbers_is_told_of(bench):
    """The numbers differ in every call, whatever the exporter does."""
    write(bench, "return x + torch.rand_like(x)")
    bench.write(
        "seeded.py",
        "import net, torch\ndef build():\n    torch.manual_seed(0)\n    return net.Net()\n",
    )
    inputs = {"x": {"shape": ["batch", 4]}}

    with pytest.raises(ExportError) as caught:
        # One way alone takes these.
        bench.export("seeded.py:build", inputs, opset=17, custom_opsets={"own": 1})

    assert "the model draws random numbers when it is called" in caught.value.what
    assert "as an input" in caught.value.hint


def test_inputs_that_are_written_into_are_named(bench):
    """The graph gives the same outputs and leaves its inputs alone, which is said."""
    write(bench, "x.mul_(2); return x + 1")

    exported = bench.export("net.py:Net", {"x": {"shape": ["batch", 4]}}, opset=18)

    assert exported.notes["mutated_inputs"] == ["x"]
    assert exported.worst() < 1e-6
