"""Models that go another way at some sizes: traced again where that helps, told where it does not."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnxbuild.errors import ExportError
from onnxbuild.steps.export.between import explain_sizes
from onnxbuild.steps.export.measure import Problem
from onnxbuild.steps.export.target import Port, Target
from onnxbuild.steps.export.uneven import compares_sizes, find_uneven
from onnxbuild.steps.export.ways import Doubt

CUT_OFF = """
    import torch
    from torch.nn import functional

    class Windows(torch.nn.Module):
        def forward(self, x):
            length = x.shape[1]
            lacking = (4 - length % 4) % 4
            windows = functional.pad(x, (0, lacking)).view(x.shape[0], -1, 4).softmax(-1)
            whole = windows.flatten(1)
            return whole[:, :length] if lacking > 0 else whole
"""


@pytest.mark.e2e
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_padding_that_the_example_does_not_need_is_cut_off_elsewhere(bench, exporter):
    """The example is a multiple of the window; the graph is traced where it is none, and right for all."""
    bench.write("net.py", CUT_OFF)

    result = bench.export(
        "net.py:Windows",
        {"x": {"shape": ["batch", "length"]}},
        dims={"batch": {"max": 3}, "length": {"min": 5, "max": 40, "trace": 16}},
        exporter=exporter,
    )

    assert result.worst() < 1e-5
    assert result.notes["traced_at"]["length"] == 17


def target(*sizes: dict[str, int], **multiples: int) -> Target:
    """What is asked of a graph with one input, visited at these sizes."""
    x = Port(name="x", dtype=ir.DataType.FLOAT, dims=tuple(sizes[0]))
    shapes = tuple({"name": str(at), "sizes": item} for at, item in enumerate(sizes))
    return Target(inputs=(x,), outputs=(x,), shapes=shapes, multiples=multiples)


SIZES = (
    {"batch": 2, "height": 32, "width": 64},
    {"batch": 1, "height": 16, "width": 16},
    {"batch": 3, "height": 96, "width": 96},
)


def test_uneven_sizes_are_multiples_as_declared_and_distinct():
    """They are near the example, within the bounds, and as far from round as they may be."""
    assert find_uneven(target(*SIZES, height=4, width=4)) == {
        "batch": 3, "height": 44, "width": 68
    }  # fmt: skip
    assert find_uneven(target({"length": 8}, {"length": 8})) is None


DOUBTS = [
    Doubt("height", 16, "min(height, width) > 16"),
    Doubt("height", 16, "64*max(1, height) != 16*height*width"),
    Doubt("width", 33, "width % 2 == 0"),
]


def test_a_graph_that_is_off_names_the_comparisons_that_fail_there():
    """The shortest come first, and what holds at the failing size is left out."""
    off = [Problem(kind="value", index=1, text="off")]

    error = explain_sizes(ExportError("off", where="export"), off, target(*SIZES), DOUBTS)

    assert error.what.splitlines()[2:] == [
        "  min(height, width) > 16: true at the example, not at height 16",
        "  64*max(1, height) != 16*height*width: true at the example, not at height 16",
    ]
    assert error.where == "dims"


def test_a_graph_that_is_off_at_the_example_is_not_traced_again():
    """Nor is one that no comparison of sizes explains."""
    error = ExportError("off", where="export")
    at_example, elsewhere = ([Problem(kind="value", index=index, text="off")] for index in (0, 2))

    assert explain_sizes(error, at_example, target(*SIZES), DOUBTS) is error
    assert not compares_sizes(error, elsewhere, target(*SIZES), DOUBTS)
    assert compares_sizes(error, [Problem(kind="shape", index=1, text="")], target(*SIZES), DOUBTS)
