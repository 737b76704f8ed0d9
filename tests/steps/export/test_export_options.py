"""Every option of the section `export`."""

from __future__ import annotations

import os
import subprocess
import sys

import onnx
import pytest
import torch

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.folding import is_constant

pytestmark = pytest.mark.e2e

X = {"x": {"shape": ["batch", 4]}}
NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.fc = nn.Linear(4, 4)
            self.gain = nn.Parameter(torch.randn(4, 4))
            self.idle = nn.Linear(4, 4)
            self.big = nn.Parameter(torch.randn(64, 64))

        def forward(self, x):
            y = self.fc(x) @ (self.gain.exp() * 2)
            return y + self.big.tanh().sum()
"""
EXPORTERS = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


@EXPORTERS
@pytest.mark.parametrize("folding", [True, False])
def test_constant_folding_is_honoured(bench, exporter, folding):
    """Folded, no node has constant inputs only; unfolded, the computation of constants is there."""
    bench.write("net.py", NET)

    result = bench.export("net.py:Net", X, exporter=exporter, opset=18, constant_folding=folding)

    assert ("Exp" in result.operators()) is not folding
    assert any(is_constant(node) for node in result.model.graph) is not folding
    assert result.worst() < 1e-3
    assert {"idle.weight", "idle.bias"} == set(result.notes["weights"]["unused"])
    assert ("gain" in result.notes["weights"].get("folded", ())) is folding


@EXPORTERS
def test_export_params_false_leaves_the_graph_alone(bench, exporter):
    """Without weights they are the graph's last inputs, and giving them gives the model's numbers."""
    bench.write("net.py", NET)

    result = bench.export("net.py:Net", X, exporter=exporter, opset=18, export_params=False)

    names = [value.name for value in result.model.graph.inputs]
    assert names[0] == "x"
    assert set(names[1:]) == set(result.notes["weights_as_inputs"])
    assert {"fc.weight", "fc.bias"} <= set(names)
    assert result.artifact.parts == ()


@EXPORTERS
def test_initializers_can_be_inputs(bench, exporter):
    """`keep_initializers_as_inputs` lists the weights as inputs and keeps their values."""
    bench.write("net.py", NET)

    result = bench.export(
        "net.py:Net", X, exporter=exporter, opset=18, keep_initializers_as_inputs=True
    )

    graph = result.model.graph
    assert [value.name for value in graph.inputs][1:] == list(graph.initializers)
    onnx.checker.check_model(result.path)


def test_file_version_metadata_and_description(bench):
    """What the recipe says of the file is in the file."""
    bench.write("net.py", NET)

    result = bench.export(
        "net.py:Net", X, ir_version=9, metadata={"task": "none"}, description="A net."
    )

    assert result.model.ir_version == 9
    assert dict(result.model.metadata_props) == {"task": "none"}
    assert result.model.doc_string == "A net."
    with pytest.raises(ExportError, match="weights as inputs"):
        bench.export("net.py:Net", X, ir_version=3)
    with pytest.raises(ExportError, match="no IR version 99"):
        bench.export("net.py:Net", X, ir_version=99)


@EXPORTERS
@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("return x + 1, [x * 2, None], x.sum()", ["output_0", "output_1.0", "output_2"]),
        ("return {'b': x + 1, 'a': x * 2}", ["b", "a"]),
        ("return Answer(x + 1, x * 2)", ["logits", "hidden"]),
        ("return x, x, x + 0", ["output_0", "output_1", "output_2"]),
    ],
)
def test_outputs_of_every_form(bench, exporter, body, names):
    """Tuples, dicts, dataclasses, and an input or the same tensor twice, have names in the graph."""
    bench.write(
        "net.py",
        f"""
        import dataclasses, torch
        from torch import nn

        @dataclasses.dataclass
        class Answer:
            logits: torch.Tensor
            hidden: torch.Tensor

        class Net(nn.Module):
            def forward(self, x):
                {body}
        """,
    )

    result = bench.export("net.py:Net", X, exporter=exporter, opset=18)

    assert [value.name for value in result.model.graph.outputs] == names
    assert result.worst() < 1e-5


@EXPORTERS
def test_unused_and_reordered_inputs(bench, exporter):
    """Inputs are in the recipe's order, the one that the model ignores too."""
    bench.write(
        "net.py",
        """
        from torch import nn

        class Net(nn.Module):
            def forward(self, a, unused, b):
                return a - b
        """,
    )
    inputs = {
        "b": {"shape": ["n", 2]},
        "a": {"shape": ["n", 2]},
        "unused": {"shape": [3], "dtype": "int64"},
    }

    result = bench.export("net.py:Net", inputs, exporter=exporter, opset=18)

    assert [value.name for value in result.model.graph.inputs] == ["b", "a", "unused"]
    assert result.worst() == 0


@EXPORTERS
def test_axes_that_the_recipe_does_not_name(bench, exporter):
    """An output's axis that varies gets a symbol, one that does not its size, whatever the exporter wrote."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def forward(self, x):
                return torch.cat([x, x], 1), x.transpose(0, 1), x.sum(1, keepdim=True)
        """,
    )
    x = {"x": {"shape": ["batch", "long dim"]}}

    result = bench.export("net.py:Net", x, outputs=["a", "b", "c"], exporter=exporter, opset=18)

    shapes = result.shapes()
    assert shapes["x"] == ["batch", "long dim"]
    assert shapes["a"][0] == "batch"
    assert isinstance(shapes["a"][1], str)
    assert shapes["b"] == ["long dim", "batch"]
    assert shapes["c"] == ["batch", 1]


def test_a_false_claim_about_an_output(bench):
    """An output axis declared as an input's dimension, which it does not follow, is an error."""
    bench.write("net.py", NET)

    with pytest.raises(ExportError, match="declared 'batch', but the model gives 4 there"):
        bench.export("net.py:Net", X, dynamic_axes={"output": {"1": "batch"}})
    with pytest.raises(ExportError, match="names logits"):
        bench.export("net.py:Net", X, dynamic_axes={"logits": {"0": "batch"}})
    with pytest.raises(ExportError, match="there is no axis 5"):
        bench.export("net.py:Net", X, dynamic_axes={"x": {"5": "batch"}})


def test_auto_falls_back_with_the_reason(bench):
    """Where dynamo fails, TorchScript is tried, and the notes say why."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def forward(self, x):
                if torch.compiler.is_exporting():
                    raise ValueError("not for dynamo")
                return x * 2
        """,
    )

    result = bench.export("net.py:Net", X, opset=18)

    assert result.notes["exporter"]["name"] == "torchscript"
    assert "not for dynamo" in result.notes["exporter"]["reason"]
    assert [attempt["exporter"] for attempt in result.notes["attempts"]] == [
        "dynamo",
        "torchscript",
    ]


def test_below_18_dynamo_is_the_last_resort(bench):
    """Where TorchScript fixes a dimension and no rule may help, dynamo's graph is converted to the opset asked for."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        def build():
            torch.manual_seed(0)
            return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        """,
    )

    inputs = {"src": {"shape": ["batch", "sequence", 8]}}
    result = bench.export("net.py:build", inputs, opset=17, auto_rules=False)

    assert result.notes["exporter"]["converted_from"] == 18
    assert "came out fixed" in result.notes["exporter"]["reason"]
    assert result.model.opset_imports[""] == 17
    assert result.worst() < 1e-5


def test_multiples_of_dimensions_are_named_alike(bench):
    """An output of twice the input's size says so with both exporters."""
    bench.write(
        "net.py", "from torch import nn\ndef build():\n    return nn.Upsample(scale_factor=2)\n"
    )
    x = {"x": {"shape": ["batch", 3, "height", 5]}}

    for opset in (18, 11):
        result = bench.export("net.py:build", x, opset=opset)

        assert result.shapes()["output"] == ["batch", 3, "2*height", 10]


def test_auto_goes_by_the_numbers(bench):
    """An exporter whose graph gives other numbers is not chosen."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def forward(self, x):
                return x * (3 if torch.compiler.is_exporting() else 2)
        """,
    )

    result = bench.export("net.py:Net", X, opset=18)

    assert result.notes["exporter"]["name"] == "torchscript"
    assert "is off by" in result.notes["attempts"][0]["result"]
    assert result.worst() == 0


DECIDES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 4)
        self.register_buffer("scale", torch.tensor(2))
        self.register_buffer("room", torch.zeros(1, 2))

    def forward(self, x):
        y = self.linear(x)
        if x.shape[0] > 100 or self.scale > 5:
            y = y + int(x.shape[0])
        BODY
        return y * self.scale.item()
"""

BATCH = {"x": {"shape": ["batch", 4]}}


@pytest.mark.parametrize(
    ("body", "line"),
    [
        pytest.param("if (x < -99).any(): y = y * 3", "if (x < -99).any()", id="branch"),
        pytest.param("y = y[:, :int(x.abs().max() * 0) + 2]", "int(x.abs()", id="number"),
        pytest.param("y = y + max(v * 0 for v in x.sum(1).tolist())", "x.sum(1)", id="list"),
        pytest.param("y = y + torch.from_numpy(x.sum(1, keepdim=True).numpy() * 0)", "numpy()", id="numpy"),
        pytest.param("self.room[0].copy_(x[0, :2]); y = y * float(self.room.sum() < 99)", "self.room", id="written"),
        pytest.param("s = torch.stack([x, x]); y = y + s.sum().item() * 0", "item()", id="stacked"),
    ],
)  # fmt: skip
def test_a_trace_that_fixes_what_values_decide_is_refused(bench, body, line):
    """Every sample may go the same way, so that no comparison shows it; the line is named."""
    bench.write("net.py", DECIDES.replace("BODY", body))

    with pytest.raises(ExportError) as caught:
        bench.export("net.py:Net", BATCH, opset=18)

    trace = caught.value.what.partition("\n  torchscript: ")[2].partition("\n  dynamo strict: ")[0]
    assert "decides by the values of its inputs" in trace
    assert line in trace
    assert trace.count("net.py:") == 1
    assert "torch.where" in caught.value.hint


def test_a_trace_that_was_asked_for_says_what_it_fixes(bench):
    """Who says `exporter: torchscript` gets the graph, and the lines that it holds for one way only."""
    bench.write("net.py", DECIDES.replace("BODY", "if (x < -99).any(): y = y * 3"))

    exported = bench.export("net.py:Net", BATCH, opset=18, exporter="torchscript")

    assert exported.worst() < 1e-5
    assert exported.notes["decisions"] == ["net.py:17 in forward: if (x < -99).any(): y = y * 3"]


def test_sizes_and_constants_may_decide(bench):
    """Samples vary the first, and nothing the second: tracing is as good as any way."""
    bench.write("net.py", DECIDES.replace("BODY", "pass"))

    exported = bench.export("net.py:Net", BATCH, opset=14)

    assert exported.notes["exporter"]["name"] == "torchscript"
    assert "decisions" not in exported.notes
    assert exported.worst() < 1e-5


PADS = """
import torch
from torch import nn
import torch.nn.functional as F

class Odd(nn.Module):
    # Pads odd sizes, as patch merging does.
    def forward(self, x):
        height, width = x.shape[1:3]
        if height % 2 == 1 or width % 2 == 1:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        parts = x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]
        return torch.cat(parts, -1)

class Long(nn.Module):
    # Goes another way from some length on, and back again.
    def forward(self, x):
        y = x.cumsum(1)
        return y / 2 if 20 < x.shape[1] <= 40 else y
"""

SQUARE = {"x": {"shape": ["batch", "height", "width", 3]}}
SIZES = {"batch": {"max": 2}} | {
    name: {"min": 8, "max": 64, "trace": size} for name, size in (("height", 16), ("width", 18))
}
LENGTH = {"length": {"min": 1, "max": 64, "trace": 16}, "batch": {"trace": 3}}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize(
    ("name", "inputs", "dims", "where"),
    [
        pytest.param(
            "Long", {"x": {"shape": ["batch", "length", 8]}}, LENGTH, "length ", id="long"
        ),
    ],
)
def test_a_graph_that_is_wrong_between_the_corners_is_refused(
    bench, exporter, name, inputs, dims, where
):
    """Least, example and most go one way through the model; what lies between goes the other."""
    bench.write("net.py", PADS)

    with pytest.raises(ExportError) as caught:
        bench.export(f"net.py:{name}", inputs, dims=dims, opset=18, exporter=exporter)

    assert f"is not the model at {where}" in caught.value.what
    assert "multiple_of" in caught.value.hint


def test_padding_that_no_corner_needs_is_in_the_graph(bench):
    """Traced again at odd sizes, a model that pads those is right at even ones too."""
    bench.write("net.py", PADS)

    exported = bench.export("net.py:Odd", SQUARE, dims=SIZES, opset=18, exporter="torchscript")

    assert exported.notes["traced_at"]["height"] % 2 == 1
    assert exported.worst() < 1e-6


def test_sizes_that_a_dimension_does_not_have_are_no_matter(bench):
    """With `multiple_of` only such sizes count, and the file holds for them."""
    bench.write("net.py", PADS)
    dims = {name: {**given, "multiple_of": 2} for name, given in SIZES.items() if name != "batch"}

    exported = bench.export("net.py:Odd", SQUARE, dims={**SIZES, **dims}, opset=18)

    assert exported.shapes()["x"] == ["batch", "height", "width", 3]
    assert exported.worst() < 1e-6


def test_custom_opsets_are_in_the_file(bench):
    """Whether a node is of them or not: what is asked is what the file has."""
    bench.write("net.py", "from torch import nn\ndef build():\n    return nn.ReLU()\n")

    exported = bench.export("net.py:build", X, opset=17, custom_opsets={"com.example": 2})

    assert dict(exported.model.opset_imports) == {"": 17, "com.example": 2}


def test_a_model_that_draws_in_forward_is_named(bench):
    """No exporter is to blame for numbers that the model does not give twice."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def forward(self, x):
                return x + torch.rand(1)
        """,
    )

    with pytest.raises(ExportError, match="called again on the same inputs") as caught:
        bench.export("net.py:Net", X, opset=18)

    assert "draw random numbers in __init__" in caught.value.hint


def test_when_both_fail_both_reasons_are_given(bench):
    """The error lists each exporter with what was wrong, and no graph."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def forward(self, x):
                return torch.linalg.eigvals(x @ x).real
        """,
    )

    with pytest.raises(ExportError) as caught:
        bench.export("net.py:Net", {"x": {"shape": [3, 3]}}, opset=18)

    assert "dynamo:" in caught.value.what
    assert "torchscript:" in caught.value.what
    assert "linalg_eigvals" in caught.value.what
    assert len(caught.value.what) < 3000


@pytest.mark.parametrize(
    ("export", "message"),
    [
        ({"exporter": "dynamo", "custom_opsets": {"my": 1}}, "no `custom_opsets`"),
        ({"exporter": "torchscript", "strict": True}, "no strict mode"),
    ],
)
def test_options_that_exclude_each_other(bench, export, message):
    """An option that the chosen exporter does not have is an error."""
    bench.write("net.py", NET)

    with pytest.raises(ExportError, match=message):
        bench.export("net.py:Net", X, opset=18, **export)


def test_strict_mode_keeps_names(bench):
    """Dynamo's strict mode exports the same weights under the same names."""
    bench.write("net.py", NET)

    result = bench.export("net.py:Net", X, exporter="dynamo", strict=True)

    assert "fc.weight" in result.model.graph.initializers


def test_rules_are_verified_against_the_original(bench):
    """A rule changes what is exported, not the reference; the notes say where it fired."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Swish(nn.Module):
            def forward(self, x):
                return x * torch.sigmoid(x)

        def build():
            return nn.Sequential(nn.Linear(4, 4), Swish(), nn.SyncBatchNorm(4))
        """,
    )
    rules = [
        {
            "name": "swish",
            "level": "module",
            "run": "onnxbuild.rules.module.run:apply",
            "options": {"module": "net.py:Swish", "with": "torch.nn.SiLU"},
        },
        {
            "name": "sync",
            "level": "module",
            "run": "onnxbuild.rules.sync_batchnorm.run:apply",
            "options": {},
        },
    ]

    torch.manual_seed(0)
    bench.sample(X)
    result = None
    bench.write(
        "seeded.py",
        "import torch, net\ndef build():\n    torch.manual_seed(0)\n    return net.build()\n",
    )
    result = bench.export("seeded.py:build", X, replace=rules)

    assert result.notes["rules"] == [
        {"rule": "swish", "level": "module", "count": 1, "where": ["1"]},
        {"rule": "sync", "level": "module", "count": 1, "where": ["2"]},
    ]
    assert result.worst() < 1e-5


SCRIPT = """
import os, sys
sys.path.insert(0, {tests!r})
from torch_bench import Bench
bench = Bench(os.getcwd())
for exporter in ("dynamo", "torchscript"):
    result = bench.export("net.py:Net", {{"x": {{"shape": ["batch", 4]}}}}, exporter=exporter, opset=18)
    print("digest", result.artifact.digest)
"""


def test_exports_are_identical_everywhere(bench, tmp_path):
    """Another folder, process and hash seed give the same bytes."""
    digests = []
    tests = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    for seed in ("1", "2"):
        folder = tmp_path / f"checkout{seed}"
        folder.mkdir()
        bench.write(f"checkout{seed}/net.py", NET)
        found = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(tests=tests)],
            cwd=folder, env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(tests)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        digests.append([line for line in found.splitlines() if line.startswith("digest")])

    assert digests[0] == digests[1]
    assert len(digests[0]) == 2
