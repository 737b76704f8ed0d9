"""Models in onnxruntime's own format."""

import numpy as np
import onnxruntime as ort
import pytest

from onnxbuild.errors import StageError
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.ort_format.spec import OrtFormat
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.steps.running import Runner
from tests.stages.networks import convolutional, ids, images, transformer


@pytest.mark.parametrize("level", ["basic", "extended", "all"])
@pytest.mark.parametrize(
    ("model", "feed"),
    [
        pytest.param(transformer, ids, id="transformer"),
        pytest.param(convolutional, images, id="convolutional"),
    ],
)
def test_the_file_gives_what_the_model_gives(bench, model, feed, level):
    """At other sizes too, loaded as what it is; it says of itself that it is no ONNX."""
    whole = bench.put(model())

    files = bench.files(OrtFormat(level=level), whole)

    assert list(files) == ["model.ort"]
    assert files["model.ort"].kind == "file"
    path = bench.store.path(files["model.ort"])
    for batch in (2, 5):
        made = Runner(path).run(feed(batch), "it")["y"]
        np.testing.assert_allclose(made, bench.run(whole, feed(batch))[0], rtol=1e-4, atol=1e-5)
    assert bench.notes["onnxruntime"] == ort.__version__


def test_a_quantized_model_keeps_its_integers(bench):
    """The file is as small as what it was made of, and gives the same."""
    whole = bench.put(transformer())
    small = bench.apply(QuantizeDynamic(), whole)

    (file,) = bench.files(OrtFormat(), small).values()

    assert file.size < 0.6 * whole.size
    made = Runner(bench.store.path(file)).run(ids(), "it")["y"]
    np.testing.assert_allclose(made, bench.run(small, ids())[0], rtol=1e-3, atol=1e-3)


def test_half_precision_is_refused(bench):
    """Onnxruntime would write it as float32 between casts, and the file would be no smaller."""
    half = bench.apply(Float16(keep_io_types=True), bench.put(transformer()))

    with pytest.raises(StageError, match="half precision") as caught:
        bench.files(OrtFormat(), half)

    assert "from:" in caught.value.hint
