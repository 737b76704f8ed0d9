"""A model that takes some sizes only says which, where it fails at another."""

from __future__ import annotations

import numpy as np
import pytest

from onnxbuild.errors import ModelError
from onnxbuild.steps.reference.sizes import explain_first, explain_sizes


def model(takes):
    """Give a model that takes sizes of its second axis for which `takes` is true."""

    def call(arrays):
        size = arrays["x"].shape[1]
        if not takes(size):
            raise ModelError(f"the model fails at {size}")

    return call


def explain(takes, worked, failed, names=("batch", "seq")):
    arrays = {"x": np.zeros((2, worked))}, {"x": np.zeros((1, failed))}
    return explain_sizes(ModelError("the model fails"), model(takes), *arrays, {"x": names})


@pytest.mark.parametrize(
    ("takes", "worked", "failed", "what", "hint"),
    [
        pytest.param(lambda n: n % 8 == 0, 16, 33, "takes 16, 24 and 32 as seq", "{seq: {multiple_of: 8}}", id="multiple"),
        pytest.param(lambda n: n <= 512, 300, 601, "takes seq up to 512", "{seq: {max: 512}}", id="max"),
        pytest.param(lambda n: n >= 5, 9, 1, "takes seq from 5", "{seq: {min: 5}}", id="min"),
        pytest.param(lambda n: n == 7, 7, 15, "takes 7 alone as seq", "no dynamic dimension", id="one"),
    ],
)  # fmt: skip
def test_sizes_that_a_model_takes_are_found(takes, worked, failed, what, hint):
    """The hint is what the recipe should say."""
    error = explain(takes, worked, failed)

    assert error.what.startswith("the model fails")
    assert what in error.what
    assert hint in error.hint


def test_where_the_first_size_fails_one_that_works_is_looked_for():
    """Nobody chose that size, and the model takes one alone, or multiples."""
    failed, names = {"x": np.zeros((2, 3))}, {"x": ("batch", "seq")}

    alone = explain_first(ModelError("it fails"), model(lambda n: n == 48), failed, names)
    steps = explain_first(ModelError("it fails"), model(lambda n: n % 8 == 0), failed, names)
    unnamed = explain_first(ModelError("it fails"), model(lambda n: n == 48), failed, {"x": (2, 3)})
    never = explain_first(ModelError("it fails"), model(lambda _: False), failed, names)

    assert "it takes 48 alone as seq" in alone.what
    assert "{seq: {multiple_of: 8}}" in steps.hint
    assert "it takes 48 alone as axis 1 of 'x'" in unnamed.what
    assert never.what == "it fails"


def test_a_dimension_without_a_name_is_told_by_its_axis():
    """Where `dynamic_axes` names it, the shape of the input has a number there."""
    error = explain(lambda n: n % 4 == 0, 8, 9, names=(2, 8))

    assert "as axis 1 of 'x'" in error.what
    assert "multiple_of: 4" in error.hint


def test_what_is_not_of_one_size_stays_as_it_is():
    """No dimension alone is to blame, or no rule is seen in what the model takes."""
    assert explain(lambda n: True, 4, 9).what == "the model fails"
    assert explain(lambda n: n in {4, 7}, 4, 9).what == "the model fails"
    assert explain(lambda n: n == 4, 4, 9, names=("batch", "past + seq")).what == "the model fails"
