"""What a precision leaves out is counted and named."""

from __future__ import annotations

import pytest

from onnxbuild.report.exceptions import tell_curve, tell_exceptions


@pytest.mark.parametrize(
    ("notes", "told"),
    [
        pytest.param({}, "", id="a stage that converts nothing"),
        pytest.param({"quantized_weights": 4, "float_weights": {}}, "", id="all converted"),
        pytest.param(
            {
                "quantized_weights": 4,
                "float_weights": {"head": "Gemm: not among the quantized operators"},
            },
            "1 of 5 weights stays float32: head (Gemm: not among the quantized operators)",
            id="int8",
        ),
        pytest.param(
            {
                "float16_weights": 1,
                "float32_weights": {"a": ["scale"], "b": ["other"], "c": ["other"], "d": ["other"]},
                "kept_float32": {"scale": "1e+06 is beyond half"},
            },
            "4 of 5 weights stay float32: a (1e+06 is beyond half), b (used by other), c (used by other), and 1 more",
            id="fp16",
        ),
    ],
)
def test_weights_that_stay_are_told(notes, told):
    """How many of how many, the first by name with the reason, the rest counted."""
    assert tell_exceptions(notes) == told


def test_a_search_is_told_in_a_line():
    """Size, error and time of each attempt, and which met the target; nothing where nothing was searched."""
    missed = {
        "left_out": 0, "bytes": 23_100_000, "cosine": 0.97412, "scaled": 0.0517, "where": "y at least",
        "seconds": 0.00213, "met": False,
    }  # fmt: skip
    met = {**missed, "left_out": 4, "cosine": 0.99123, "seconds": 0.0123, "met": True}

    assert tell_curve([missed, met]) == (
        "searched: 0 left out: 23.1 MB, cosine 0.9741 (scaled 0.052), 2.13 ms, missed;"
        " 4 left out: 23.1 MB, cosine 0.9912 (scaled 0.052), 12.3 ms"
    )
    assert not tell_curve([])
