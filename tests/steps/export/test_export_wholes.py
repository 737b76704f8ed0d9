"""Sizes that a model turns into numbers of Python's stay sizes."""

from __future__ import annotations

import pytest
import torch

from onnxbuild.steps.export import wholes
from onnxbuild.steps.export.wholes import Places, kept

EVEN = """
    import math
    import functools
    import torch

    @functools.lru_cache
    def table(size):
        return torch.arange(size)

    class Even(torch.nn.Module):
        def forward(self, x):
            height = int(math.ceil(x.shape[2] / 2) * 2)
            width = int(x.shape[3] * 1.5)
            scale = float(x.shape[3]) / 10 * math.sqrt(x.shape[2]) + math.log(x.shape[3])
            torch._check_tensor_all(x.abs() < 1e9)
            ramp = table(x.shape[3]) * (1.0 / x.shape[3])
            x = x * ramp
            return scale * torch.nn.functional.interpolate(x, size=(height, width))
"""


@pytest.mark.e2e
def test_a_size_that_goes_through_int_stays_dynamic(bench):
    """`int(math.ceil(size / 2) * 2)` follows the size, odd ones and ones between the corners too.

    So do roots and logarithms, products of tensors and numbers, and what is kept by size.
    """
    bench.write("net.py", EVEN)

    result = bench.export(
        "net.py:Even",
        {"x": {"shape": ["batch", 1, "height", "width"]}},
        dims={
            "batch": {"min": 1, "max": 3},
            "height": {"min": 3, "max": 12, "trace": 6},
            "width": {"min": 3, "max": 12, "trace": 7},
        },
        exporter="dynamo",
    )

    assert result.worst() < 1e-5
    assert result.shapes()["x"] == ["batch", 1, "height", "width"]


def test_the_names_mean_what_they_did_to_all_else():
    """While sizes are kept, `int` and `float` convert and check as ever; afterwards they are the built-in ones."""
    namespace = {"float": str}
    code = "found = (int('7'), int(), int('ff', 16), isinstance(3, int), isinstance(3.0, int), float('2'))"
    places = Places(lines={"net.py:1": None}, namespaces={id(namespace): namespace})

    with kept(places):
        exec(code, namespace)

    assert namespace["found"] == (7, 0, 255, True, False, 2.0)
    assert "int" not in namespace
    assert namespace["float"] is str


def test_only_code_outside_of_torch_is_noted():
    """A conversion that torch itself asks for is not touched: it knows what it does."""
    places = Places()

    exec(
        compile("note(frame())", torch.functional.__file__, "exec"),
        {"note": places.note, "frame": wholes.sys._getframe},
    )
    exec(
        compile("note(frame())", "/project/net.py", "exec"),
        {"note": places.note, "frame": wholes.sys._getframe},
    )

    assert list(places.lines) == ["/project/net.py:1"]
