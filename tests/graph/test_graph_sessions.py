"""Sessions measure what users will run."""

import onnx
import onnxruntime as ort
import pytest

from onnxbuild.graph import sessions


def large(level, *, nested):
    """A model whose weights lie in a file, larger than memory should hold twice."""
    node = onnx.helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft",
        K=64, N=64, bits=8, block_size=64, accuracy_level=level,
    )  # fmt: skip
    if nested:
        inner = onnx.helper.make_graph([node], "inner", [], [onnx.ValueInfoProto(name="y")])
        node = onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    weight = onnx.TensorProto(name="w", data_type=2, data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="blob")
    weight.external_data.add(key="length", value=str(sessions.LARGE + 1))
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [weight]))


@pytest.mark.parametrize("nested", [False, True])
def test_blocks_that_are_multiplied_as_integers_are_packed_however_large(nested):
    """Without packing they would be multiplied as floats, and verified better than they are."""
    integers, floats = ort.SessionOptions(), ort.SessionOptions()

    sessions.spare(integers, large(4, nested=nested))
    sessions.spare(floats, large(0, nested=nested))

    assert floats.get_session_config_entry("session.disable_prepacking") == "1"
    with pytest.raises(RuntimeError):
        integers.get_session_config_entry("session.disable_prepacking")
