"""A store, and small models that are made of nothing but onnx."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.stores.local import LocalStore


@pytest.fixture
def store(tmp_path):
    store = LocalStore(str(tmp_path / "store"))
    yield store
    store.close()


@pytest.fixture
def make_model():
    return model


def model(*, width=64, tied=False, seed=0, opset=18, metadata=None):
    """y = x @ a @ b + c, with two weights above 4 KiB, one small, and a subgraph with a weight."""
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((width, width)).astype(np.float32)
    b = a if tied else generator.standard_normal((width, width)).astype(np.float32)
    c = generator.standard_normal(width).astype(np.float32)
    inner = generator.standard_normal((width, width)).astype(np.float32)
    inside = helper.make_graph(
        [helper.make_node("MatMul", ["xa", "inner"], ["else_out"])],
        "else_graph",
        [],
        [helper.make_tensor_value_info("else_out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(inner, "inner")],
    )
    through = helper.make_graph(
        [helper.make_node("MatMul", ["xa", "b"], ["then_out"])],
        "then_graph",
        [],
        [helper.make_tensor_value_info("then_out", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["xa"], name="first", doc_string="made up"),
        helper.make_node("If", ["flag"], ["xab"], then_branch=through, else_branch=inside),
        helper.make_node("Add", ["xab", "c"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        [
            numpy_helper.from_array(a, "a"),
            numpy_helper.from_array(b, "b"),
            numpy_helper.from_array(c, "c"),
            numpy_helper.from_array(np.array(True), "flag"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for key, value in (metadata or {}).items():
        made.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(made)
    return made
