"""Graphs in the store, and out of it."""

import os
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from onnxbuild.errors import ModelError, StageError
from onnxbuild.graph import load, save


def run(path, width=64):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.linspace(-1, 1, 3 * width, dtype=np.float32).reshape(3, width)
    return session.run(None, {"x": x})[0]


def test_weights_of_4_kib_become_blobs_and_the_graph_runs_in_place(store, make_model):
    """A stored graph is small, its weights are blobs, and onnxruntime loads it where it stands."""
    model = make_model()
    expected = run_bytes(model.SerializeToString())

    artifact = save.put(model, store)

    path = store.path(artifact)
    assert os.path.getsize(path) < 4096
    assert len(artifact.parts) == 3
    assert artifact.size == os.path.getsize(path) + 3 * 64 * 64 * 4
    assert all(os.path.getsize(store.blob_path(part)) == 64 * 64 * 4 for part in artifact.parts)
    onnx.checker.check_model(path)
    np.testing.assert_array_equal(run(path), expected)


def test_nodes_stand_behind_what_they_use(store, make_model):
    """A library that appends nodes behind their users gets a graph that the format allows all the same."""
    model = make_model()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    assert len(nodes) > 1

    artifact = save.put(model, store)

    onnx.checker.check_model(store.path(artifact))


def test_values_of_several_graphs_have_names_of_their_own(store):
    """Two branches may call their weights alike; what goes by names would take one for the other."""
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <
            then_branch = a () => (float[2] r) <float[2] w = {1, 2}> { r = Add (x, w) },
            else_branch = b () => (float[2] r) <float[2] w = {5, 6}> { r = Add (x, w) }
        >
    }"""
    artifact = save.put(onnx.parser.parse_model(text), store)

    path = store.path(artifact)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for chosen, expected in ((True, [1, 2]), (False, [5, 6])):
        feed = {"c": np.array(chosen), "x": np.zeros(2, np.float32)}
        np.testing.assert_array_equal(session.run(None, feed)[0], expected)
    branches = list(load.read(path).graph.subgraphs())
    names = [value.name for graph in branches for value in graph.initializers.values()]
    assert names == ["w", "w_2"]
    assert [graph.outputs[0].name for graph in branches] == ["r", "r_2"]


def run_bytes(content, width=64):
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = np.linspace(-1, 1, 3 * width, dtype=np.float32).reshape(3, width)
    return session.run(None, {"x": x})[0]


def test_equal_weights_are_one_blob(store, make_model):
    """A graph with the same weights twice keeps one blob."""
    model = make_model(tied=True)

    artifact = save.put(model, store)

    assert len(artifact.parts) == 2


def test_putting_what_was_read_reads_no_weight(store, make_model):
    """Weights that are blobs of the store already are neither copied nor hashed again."""
    first = save.put(make_model(), store)
    model = load.read(store.path(first))
    for part in first.parts:
        os.unlink(store.blob_path(part))

    second = save.put(model, store)

    assert second == first


def test_weights_of_another_store_are_copied(store, make_model, tmp_path):
    """A blob of another store is not taken for one of this."""
    from onnxbuild.stores.local import LocalStore

    other = LocalStore(str(tmp_path / "other"))
    first = save.put(make_model(), other)

    second = save.put(load.read(other.path(first)), store)

    assert second == first
    assert store.damaged(second) == ()
    other.close()


def test_a_proto_and_its_ir_give_the_same_bytes(store, make_model):
    """`put` takes an onnx.ModelProto as well as an onnx_ir.Model."""
    proto = make_model()

    first = save.put(ir.from_proto(make_model()), store)
    second = save.put(proto, store)

    assert first == second


def test_a_weight_without_a_value_is_named(store, make_model):
    """A weight that was never filled in is an error, not a graph that does not load."""
    model = ir.from_proto(make_model())
    model.graph.initializers["b"].const_value = None

    with pytest.raises(ModelError, match="'b' has no value"):
        save.put(model, store)


def test_sparse_weights_are_refused(store, make_model):
    """What onnx_ir would drop in silence is an error."""
    proto = make_model()
    sparse = proto.graph.sparse_initializer.add()
    sparse.dims.append(4)

    with pytest.raises(ModelError, match="sparse"):
        save.put(proto, store)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import model
from onnxbuild.graph import save
from onnxbuild.stores.local import LocalStore
made = model(metadata={"z": "1", "a": "2", "m": "3"})
for key in {"k%d" % n for n in range(20)}:
    made.graph.node[0].metadata_props.add(key=key, value="v")
print(save.put(made, LocalStore(sys.argv[2])).digest)
"""


def test_bytes_do_not_depend_on_the_hash_seed(tmp_path):
    """Two processes with different hash seeds write the same graph."""
    folder = os.path.dirname(__file__)

    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, folder, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(digests) == 1


def test_published_in_one_file(store, make_model, tmp_path):
    """A published model is one file that onnx and onnxruntime load, the same bytes each time."""
    artifact = save.put(make_model(), store)
    expected = run(store.path(artifact))

    files = [
        publish(store, artifact, tmp_path / name, metadata={"b": "2", "a": "1"}) for name in "xy"
    ]

    assert files[0] == files[1] == ["model.onnx"]
    assert (tmp_path / "x/model.onnx").read_bytes() == (tmp_path / "y/model.onnx").read_bytes()
    path = str(tmp_path / "x/model.onnx")
    onnx.checker.check_model(path, full_check=True)
    proto = onnx.load(path)
    assert [entry.key for entry in proto.metadata_props] == ["a", "b"]
    assert {t.name for t in proto.graph.initializer} == {"a", "b", "c", "flag"}
    assert numpy_helper.to_array(proto.graph.initializer[0]).shape == (64, 64)
    np.testing.assert_array_equal(run(path), expected)


def publish(store, artifact, folder, **options):
    folder.mkdir()
    return save.write_model(store.path(artifact), str(folder), **options)


def test_published_with_external_data(store, make_model, tmp_path):
    """External data lie in one file named by its digest; equal weights share their place."""
    artifact = save.put(make_model(tied=True), store)
    expected = run(store.path(artifact))

    files = publish(store, artifact, tmp_path / "out", external_data="always")

    graph, data = files
    assert graph == "model.onnx"
    assert data.startswith("model-")
    assert data.endswith(".onnx.data")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(files)
    assert os.path.getsize(tmp_path / "out" / data) == 2 * 64 * 64 * 4
    onnx.checker.check_model(str(tmp_path / "out" / graph), full_check=True)
    np.testing.assert_array_equal(run(str(tmp_path / "out" / graph)), expected)


@pytest.mark.parametrize(
    ("external_data", "limit", "count"),
    [
        pytest.param("auto", 10_000, 2, id="auto and too large"),
        pytest.param("auto", 1_000_000, 1, id="auto and small"),
        pytest.param("never", 1_000_000, 1, id="never and small"),
    ],
)
def test_one_file_unless_it_cannot_hold_the_model(
    store, make_model, tmp_path, external_data, limit, count
):
    """`auto` writes external data only where one file cannot hold the model."""
    artifact = save.put(make_model(), store)

    files = publish(store, artifact, tmp_path / "out", external_data=external_data, limit=limit)

    assert len(files) == count


def test_never_external_and_too_large_is_an_error(store, make_model, tmp_path):
    """Asking for the impossible is refused in words."""
    artifact = save.put(make_model(), store)

    with pytest.raises(StageError, match="one ONNX file can hold") as caught:
        publish(store, artifact, tmp_path / "out", external_data="never", limit=10_000)

    assert "export.external_data" in caught.value.hint


def test_a_model_without_large_weights_has_no_data_file(store, make_model, tmp_path):
    """`always` writes no empty data file."""
    artifact = save.put(make_model(width=4), store)

    files = publish(store, artifact, tmp_path / "out", external_data="always")

    assert files == ["model.onnx"]
