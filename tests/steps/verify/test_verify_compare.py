"""The promises of `onnxbuild.steps.verify.compare`."""

import ml_dtypes
import numpy as np
import pytest

from onnxbuild.steps.verify.compare import Comparison


def compare(*pairs):
    comparison = Comparison()
    for reference, output in pairs:
        comparison.add(np.asarray(reference), np.asarray(output))
    return comparison.result()


def test_the_errors_are_what_their_formulas_say():
    """Absolute, relative with a floor, scaled, cosine."""
    reference = np.array([4.0, -2.0, 0.0, 1e-6])
    output = np.array([4.5, -2.0, 0.0, 1.1e-6])

    found = compare((reference, output))

    assert found["max_abs"] == 0.5
    assert found["max_rel"] == 0.125
    assert found["scaled"] == 0.125
    assert found["largest"] == 4.0
    expected = output @ reference / np.linalg.norm(output) / np.linalg.norm(reference)
    assert found["cosine"] == pytest.approx(expected, abs=1e-15)
    assert "mismatched" not in found


def test_samples_of_a_shape_are_one_vector():
    """The worst error of all, and one cosine."""
    found = compare(([1.0, 0.0], [1.0, 0.0]), ([0.0, 2.0], [0.0, -2.0]))

    assert found["samples"] == 2
    assert found["max_abs"] == 4.0
    assert found["scaled"] == 2.0
    assert found["cosine"] == pytest.approx((1 - 4) / 5)


@pytest.mark.parametrize(
    ("reference", "output", "scaled", "cosine"),
    [
        pytest.param([0.0, 0.0], [0.0, 0.0], 0.0, 1.0, id="both zero"),
        pytest.param([0.0, 0.0], [0.5, 0.0], 0.5, 0.0, id="zero reference"),
        pytest.param([1.0, 0.0], [0.0, 0.0], 1.0, 0.0, id="zero output"),
        pytest.param(np.zeros((0, 3)), np.zeros((0, 3)), 0.0, 1.0, id="nothing"),
    ],
)
def test_zero_vectors_have_defined_errors(reference, output, scaled, cosine):
    """No division by zero, no NaN."""
    found = compare((reference, output))

    assert found["scaled"] == scaled
    assert found["cosine"] == cosine


def test_a_model_ten_times_too_small_has_a_cosine_of_one_and_a_large_error():
    """Why neither is judged alone."""
    reference = np.random.default_rng(0).standard_normal(100)

    found = compare((reference, reference / 10))

    assert found["cosine"] == pytest.approx(1.0)
    assert found["scaled"] == pytest.approx(0.9)


def test_numbers_that_are_none_are_seen():
    """NaN and Inf in the output; errors are those of the rest."""
    found = compare(([1.0, 2.0, 3.0], [1.0, np.nan, np.inf]))
    nothing = compare(([1.0], [np.nan]))

    assert not found["finite"]
    assert found["reference_finite"]
    assert found["max_abs"] == 0.0
    assert not nothing["finite"]
    assert nothing["max_abs"] is None
    assert nothing["cosine"] is None


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_whole_numbers_and_truth_values_are_compared_exactly(dtype):
    """By the share that differs."""
    found = compare((np.array([0, 1, 1, 0], dtype), np.array([0, 1, 0, 0], dtype)))

    assert found["mismatched"] == 0.25
    assert found["max_abs"] == 1.0


def test_text_is_compared_exactly():
    """It has no errors in numbers."""
    found = compare((np.array(["a", "b"]), np.array(["a", "c"], dtype=object)))

    assert found["mismatched"] == 0.5
    assert found["max_abs"] is None


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.complex64])
def test_other_types_of_numbers_are_compared_too(dtype):
    """A half output against a float reference; complex numbers as two."""
    reference = np.array([1.5, -2.0], np.complex64 if dtype is np.complex64 else np.float32)

    found = compare((reference, reference.astype(dtype)))

    assert found["max_abs"] == 0.0
    assert found["cosine"] == pytest.approx(1.0)


def test_another_shape_is_a_problem_and_no_number():
    """In words."""
    found = compare((np.zeros((2, 3)), np.zeros((2, 4))))

    assert found["problem"] == "its shape is [2, 4], PyTorch's is [2, 3]"
    assert found["max_abs"] is None
