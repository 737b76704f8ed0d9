"""The promises of `onnxbuild.steps.verify.channels`."""

import numpy as np
import pytest

from onnxbuild.steps.verify.channels import NOISE, Channels
from onnxbuild.steps.verify.compare import Comparison


def channels(*pairs):
    found = Channels()
    for reference, output in pairs:
        Comparison(channels=found).add(np.asarray(reference), np.asarray(output))
    return {item["axis"]: item for item in found.result()}


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_a_lost_channel_of_small_values_is_found():
    """A millionth of the others: the scaled error is 1e-6 and the cosine 1, the channel's own error 1."""
    reference = noise(4, 10)
    reference[:, 7] *= 1e-5
    output = reference.copy()
    output[:, 7] = 0
    channels = Channels()
    comparison = Comparison(channels=channels)

    comparison.add(reference, output)

    found = comparison.result()
    assert found["scaled"] < 2e-5
    assert found["cosine"] > 0.999999
    (channel,) = channels.result()
    assert (channel["axis"], channel["channel"], channel["size"]) == (1, 7, 10)
    assert channel["error"] == pytest.approx(1, rel=0.2)
    assert channel["values"] == 4
    assert channel["largest"] == np.abs(reference[:, 7]).max()


def test_all_samples_count():
    """Of every shape: a channel is as large as in its largest sample, and as wrong as in its worst."""
    found = channels(([[4.0, 1.0]], [[4.0, 1.5]]), ([[4.0, 2.0]], [[4.0, 2.0]]))

    assert found[1]["channel"] == 1
    assert found[1]["error"] == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        pytest.param((), [], id="a number"),
        pytest.param((3,), [], id="one value for each of a batch"),
        pytest.param((2, 3), [1], id="scores"),
        pytest.param((2, 5, 3), [1, 2], id="sequences"),
        pytest.param((2, 3, 5, 5), [1, 3], id="images"),
        pytest.param((2, 0, 5), [], id="nothing"),
    ],
)
def test_channels_lie_along_axis_1_and_the_last(shape, axes):
    """But the batch's axis has none."""
    reference = noise(*shape)

    assert list(channels((reference, reference))) == axes


def test_what_may_be_rounding_is_not_judged():
    """A channel below what single precision resolves beside the largest value is counted, not blamed."""
    reference = np.array([[1.0, NOISE / 2, 0.0]])

    (found,) = channels((reference, reference * [1, -1, 1])).values()

    assert found["unjudged"] == 2
    assert found["error"] == 0


def test_whole_numbers_have_no_channels():
    """They are compared exactly."""
    assert channels((np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3))) == {}


def test_an_axis_whose_size_differs_has_no_channels():
    """Between samples, of one shape or of several."""
    found = channels((noise(2, 3, 4), noise(2, 3, 4)), (noise(2, 5, 4), noise(2, 5, 4)))

    assert list(found) == [2]
