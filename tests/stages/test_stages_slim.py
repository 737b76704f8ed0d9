"""onnxslim, which may not be installed."""

import importlib.util

import numpy as np
import pytest

from onnxbuild.errors import StageError
from onnxbuild.stages.onnxslim.spec import OnnxSlim
from tests.stages.networks import ids, transformer

INSTALLED = importlib.util.find_spec("onnxslim") is not None


@pytest.mark.skipif(not INSTALLED, reason="needs the extra `slim`")
def test_onnxslim_keeps_the_numbers(bench):
    """And the interface, which every stage is held to."""
    model = bench.put(transformer())

    small = bench.apply(OnnxSlim(), model)

    assert bench.notes["nodes"][1] <= bench.notes["nodes"][0]
    np.testing.assert_allclose(bench.run(small, ids())[0], bench.run(model, ids())[0], atol=1e-4)


@pytest.mark.skipif(INSTALLED, reason="onnxslim is installed")
def test_without_onnxslim_it_is_told_what_to_install(bench):
    """Rather than an import error."""
    with pytest.raises(StageError, match="needs the package") as caught:
        bench.apply(OnnxSlim(), bench.put(transformer()))

    assert "onnxbuild[slim]" in caught.value.hint
