"""Which way to export is tried after which, and models that one way alone exports."""

from __future__ import annotations

import pytest

from onnxbuild.recipe.schema import Export
from onnxbuild.steps.export.ways import Attempt, next_way


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


def test_strict_mode_does_not_mend_a_comparison_of_sizes():
    """Where the model's code goes another way at some sizes, it does so in every mode."""
    failed = [
        Attempt(way="dynamo", what="", where="dims.length", reached="checks"),
        Attempt(way="torchscript", what="", reached="checks"),
    ]

    assert next_way(Export(), failed) is None


STRICT_ONLY = """
    import functools
    import torch
    from torch import nn

    class Net(nn.Module):
        @functools.lru_cache
        def mask(self, n):
            return torch.tril(torch.ones(n, n))

        def forward(self, x):
            mask = self.mask(x.shape[0])
            if torch.jit.is_tracing():
                raise ValueError("cannot be traced")
            return mask @ x
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
