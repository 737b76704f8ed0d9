"""The first difference between two models, in words."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.graph.difference import find_difference


def make_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="product"),
        helper.make_node("Elu", ["m"], ["y"], name="last", alpha=0.5),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.metadata_props.add(key="author", value="me")
    return model


def change_weight(model):
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    values[1, 0] += 0.5
    values[2, 1] -= 2
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))


WEIGHT = (
    "graph.initializer[0] 'w': 2 of 6 values differ, by at most 2; "
    "the first at [1, 0]: 2.0 the first time, 2.5 the second"
)
CHANGES = [
    (lambda model: None, ""),
    (change_weight, WEIGHT),
    (lambda model: setattr(model.graph.node[1].attribute[0], "f", 0.25),
     "graph.node[1] Elu 'last'.attribute[0] 'alpha'.f: 0.5 the first time, 0.25 the second"),
    (lambda model: setattr(model.graph.node[0], "op_type", "Gemm"),
     "graph.node[0] MatMul 'product'.op_type: 'MatMul' the first time, 'Gemm' the second"),
    (lambda model: model.graph.node[0].input.pop(),
     "graph.node[0] MatMul 'product'.input: ['x', 'w'] the first time, ['x'] the second"),
    (lambda model: model.graph.node.add(op_type="Relu", name="more"),
     "graph.node: 2 the first time, 3 the second, as Relu 'more' is one more"),
    (lambda model: setattr(model.metadata_props[0], "value", "you"),
     "metadata_props[0] 'author'.value: 'me' the first time, 'you' the second"),
    (lambda model: setattr(model.graph, "doc_string", "x"), "graph.doc_string: '' the first time, 'x' the second"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), CHANGES)
def test_the_first_difference_is_named(tmp_path, change, told):
    """Nodes, attributes, weights and metadata by place and name, with both values."""
    model = make_model()
    onnx.save(model, tmp_path / "a.onnx")
    change(model)
    onnx.save(model, tmp_path / "b.onnx")

    assert find_difference(str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")) == told


def test_weights_beside_the_graph_are_compared_by_value(tmp_path):
    """External data lies beside each of the two, under names that need not be the same."""
    model = make_model()
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        onnx.save(
            model,
            folder / "net.onnx",
            save_as_external_data=True,
            location=f"{name}.data",
            size_threshold=0,
        )
        model = make_model()
        change_weight(model)

    told = find_difference(str(tmp_path / "a" / "net.onnx"), str(tmp_path / "b" / "net.onnx"))

    assert "'w': 2 of 6 values differ" in told
