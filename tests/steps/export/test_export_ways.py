"""Which way to export is tried after which, and models that one way alone exports."""

from __future__ import annotations

from types import SimpleNamespace

import onnx_ir as ir
import pytest

from onnxbuild.recipe.schema import Export
from onnxbuild.steps.export.between import choose, guarded
from onnxbuild.steps.export.target import Port, Target
from onnxbuild.steps.export.ways import Attempt, Doubt, next_way

IMAGES = Target(
    inputs=(Port(name="x", dtype=ir.DataType.FLOAT, dims=(2, "width")),),
    outputs=(),
    shapes=tuple({"name": "", "sizes": {"width": size}} for size in (6, 2, 40)),
)


def test_no_reason_to_doubt_is_hidden_by_another():
    """Where more sizes are doubtful than are visited, there is one for each comparison of the model's, each size once."""
    many = [Doubt("length", size, "length % 2 == 0") for size in range(3, 43, 2)]
    one = Doubt("length", 600, "length < 512")

    chosen, left = choose([*many, *many, one])

    assert one in chosen
    assert many[0] in chosen
    assert (len(chosen), left) == (16, 5)


@pytest.mark.parametrize("name", ["values", "flat_args"])
def test_comparisons_of_sizes_are_read_in_either_mode(name):
    """A guard of torch.export names the sizes at which the code goes another way, whatever it calls the inputs."""
    guards = [f"(L['{name}'][0].size()[1] % 2) != 1", f"L['{name}'][0].size()[1] <= 30"]

    found = guarded(SimpleNamespace(_guards_code=guards), IMAGES)

    assert [(doubt.size, doubt.why) for doubt in found] == [
        (3, "(width % 2) != 1"),
        (21, "(width % 2) != 1"),
        (39, "(width % 2) != 1"),
        (31, "width <= 30"),
        (36, "width <= 30"),
        (40, "width <= 30"),
    ]


@pytest.mark.parametrize("guards", [{}, {"_guards_code": ["L['other'].size()[1] <= 30"]}])
def test_where_comparisons_are_not_known_sizes_inside_are_visited(guards):
    """Another version of torch may have no guards, or put them in words that are not known here."""
    assert {doubt.size for doubt in guarded(SimpleNamespace(**guards), IMAGES)} == {
        3,
        21,
        22,
        30,
        39,
    }


def order(export: Export, *reached: str) -> list[str]:
    """Give the ways that are tried where each ends as `reached` says, in order."""
    failed: list[Attempt] = []
    while (way := next_way(export, failed)) is not None:
        at = reached[len(failed)] if len(failed) < len(reached) else "checks"
        failed.append(Attempt(way=way, what="", reached=at))
    return [attempt.way for attempt in failed]


@pytest.mark.parametrize(
    ("export", "reached", "ways"),
    [
        (Export(), (), ["dynamo", "torchscript", "dynamo strict"]),
        (Export(), ("capture",), ["dynamo", "torchscript", "dynamo strict"]),
        (Export(), ("translation",), ["dynamo", "torchscript"]),
        (Export(strict=True), (), ["dynamo strict", "torchscript"]),
        (Export(opset=17), (), ["torchscript", "dynamo", "dynamo strict"]),
        (Export(opset=17, custom_opsets={"a": 1}), (), ["torchscript"]),
        (Export(exporter="dynamo"), (), ["dynamo"]),
        (Export(exporter="dynamo", strict=True), (), ["dynamo strict"]),
        (Export(exporter="torchscript"), (), ["torchscript"]),
    ],
)
def test_ways_have_an_order(export, reached, ways):
    """What the recipe asks for comes first, and nothing is tried that cannot help."""
    assert order(export, *reached) == ways


def test_a_loop_over_a_size_is_compiled_last():
    """Where a loop has fixed a size, strict mode cannot help, and a compiled loop can."""
    failed = [
        Attempt(way="dynamo", what="", reached="checks", loops=("net.py:3 in forward: for …",))
    ]

    assert next_way(Export(), failed) == "torchscript"
    failed.append(Attempt(way="torchscript", what="", reached="checks"))
    assert next_way(Export(), failed) == "torchscript compiled"


def test_strict_mode_does_not_mend_a_comparison_of_sizes():
    """Where the model's code goes another way at some sizes, it does so in every mode."""
    failed = [
        Attempt(way="dynamo", what="", where="dims.length", reached="checks"),
        Attempt(way="torchscript", what="", reached="checks"),
    ]

    assert next_way(Export(), failed) is None


STRICT_ONLY = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def forward(self, x):
            size = x.shape[0]
            if torch.jit.is_tracing() or not isinstance(size, int):
                raise ValueError("cannot be traced")
            return torch.tril(torch.ones(size, size)) @ x
"""

SCRIPT_ONLY = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def forward(self, x):
            flags = x.new_zeros(1)
            if flags.data_ptr() == 0:
                raise ValueError("no memory")
            return x * 2
"""


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("text", "tried", "used"),
    [
        pytest.param(
            STRICT_ONLY, ["export with torchscript", "export with dynamo strict"], "dynamo strict", id="strict",
        ),
        pytest.param(SCRIPT_ONLY, ["export with torchscript"], "torchscript", id="torchscript"),
    ],
)  # fmt: skip
def test_a_model_that_one_way_alone_exports(bench, text, tried, used):
    """`auto` finds it, and the graph is the model at every size."""
    bench.write("net.py", text)

    result = bench.export("net.py:Net", {"x": {"shape": ["batch", 4]}}, opset=18)

    assert bench.tried == tried
    assert result.notes["exporter"]["name"] == used
    assert [attempt["exporter"] for attempt in result.notes["attempts"]][-1] == used
    assert result.shapes()["x"] == ["batch", 4]
    assert result.worst() < 1e-6


@pytest.mark.e2e
def test_a_target_bounds_the_file(bench):
    """IR version and opset are such that the target reads it; a way that writes lower opsets gives its highest."""
    bench.write("net.py", SCRIPT_ONLY)
    x = {"x": {"shape": ["batch", 4]}}

    result = bench.export("net.py:Net", x, opset=25, beside={"is_highest": True, "highest_ir": 9})

    assert result.notes["exporter"]["name"] == "torchscript"
    assert result.model.opset_imports[""] == 23
    assert result.model.ir_version <= 9
