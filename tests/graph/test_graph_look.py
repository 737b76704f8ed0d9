"""Summaries and comparisons."""

import json

import onnx_ir as ir
import pytest

from onnxbuild.errors import ModelError, StageError
from onnxbuild.graph import compare, load, save, summary
from onnxbuild.graph.keep import keep


def test_summary_counts_what_the_file_has(store, make_model):
    """Interface, operators, weights and sizes, subgraphs included; all plain values."""
    artifact = save.put(make_model(metadata={"k": "v"}), store)

    found = summary.summarize(store.path(artifact))

    assert json.loads(json.dumps(found)) == found
    assert found["opset"] == 18
    assert found["ir_version"] == 8
    assert found["inputs"] == [{"name": "x", "dtype": "float", "shape": ["batch", 64]}]
    assert found["outputs"] == [{"name": "y", "dtype": "float", "shape": ["batch", 64]}]
    assert found["operators"] == {"MatMul": 3, "Add": 1, "If": 1}
    assert found["weights"]["dtypes"]["float"]["tensors"] == 4
    assert found["bytes"] == artifact.size
    assert found["metadata"] == {"k": "v"}


def test_a_model_equals_itself(store, make_model):
    """No difference, an empty answer."""
    path = store.path(save.put(make_model(), store))

    assert compare.compare(path, path) == {}


def test_differences_are_named(store, make_model):
    """A changed weight, a renamed value and another opset are each named."""
    left = store.path(save.put(make_model(), store))
    proto = make_model(seed=1, opset=17)
    proto.graph.node[2].output[0] = "z"
    proto.graph.output[0].name = "z"
    right = store.path(save.put(proto, store))

    found = compare.compare(left, right)

    assert found["opsets"] == {"": [18, 17]}
    assert found["outputs"].keys() == {"y", "z"}
    assert found["nodes"]["added"] == ["z"]
    assert found["nodes"]["removed"] == ["y"]
    assert found["weights"]["changed"].keys() == {"a", "b", "c", "inner"}


def test_a_file_that_is_no_model_is_named(tmp_path):
    """Garbage and truncated files are errors with the path."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model at all")

    with pytest.raises(ModelError) as caught:
        load.read(str(path))

    assert caught.value.where == str(path)


def test_names_of_dimensions_come_back(make_model):
    """What a library forgets of dimensions, documentation and metadata is restored."""
    before, after = (ir.from_proto(make_model(metadata={"k": "v"})) for _ in range(2))
    after.graph.inputs[0].shape = ir.Shape([None, 64])
    after.metadata_props.clear()
    after.producer_name = "onnx.quantize"

    keep(before, after, library="it")

    assert summary.dims(after.graph.inputs[0]) == ["batch", 64]
    assert dict(after.metadata_props) == {"k": "v"}
    assert after.producer_name == before.producer_name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda m: m.graph.opset_imports.update({"": 19}), "opset from 18 to 19", id="opset"),
        pytest.param(lambda m: setattr(m.graph.inputs[0], "name", "q"), "inputs from", id="name"),
        pytest.param(lambda m: setattr(m.graph.outputs[0], "dtype", ir.DataType.FLOAT16), "'y' from FLOAT to FLOAT16", id="type"),
        pytest.param(lambda m: setattr(m.graph.inputs[0], "shape", ir.Shape([1])), "'x' from", id="rank"),
    ],
)  # fmt: skip
def test_a_changed_interface_is_an_error(make_model, change, message):
    """Opset, names, types and ranks stay, or the stage fails."""
    before, after = (ir.from_proto(make_model()) for _ in range(2))
    change(after)

    with pytest.raises(StageError, match=message):
        keep(before, after, library="it")


def test_a_type_may_change_where_it_was_asked(make_model):
    """`retyped` names the inputs and outputs whose type may be another."""
    before, after = (ir.from_proto(make_model()) for _ in range(2))
    after.graph.outputs[0].dtype = ir.DataType.FLOAT16

    keep(before, after, library="it", retyped={"y"})
