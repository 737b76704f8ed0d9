"""What is refused of an exported graph, where each weight went, and models that are ONNX files."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from onnxbuild.errors import ExportError, ModelError
from onnxbuild.steps.export.coverage import cover
from onnxbuild.steps.export.measure import Problem, judge
from onnxbuild.steps.export.settle import settle
from onnxbuild.steps.export.target import Port, Target

pytestmark = pytest.mark.e2e

X = {"x": {"shape": ["batch", 4]}}


def _graph(dims, name="x", opset=18, dtype=ir.DataType.FLOAT):
    value = ir.Value(name=name, shape=ir.Shape(dims), type=ir.TensorType(dtype))
    node = ir.Node("", "Relu", [value])
    node.outputs[0].name = "y"
    node.outputs[0].shape = ir.Shape(dims)
    node.outputs[0].type = ir.TensorType(dtype)
    graph = ir.Graph([value], node.outputs, nodes=[node], opset_imports={"": opset})
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        pytest.param(
            _graph(["s0", 4], opset=17), "opset 18 was asked for, and the graph has 17", id="opset"
        ),
        pytest.param(_graph(["s0", 4], name="z"), "inputs are z; asked for: x", id="name"),
        pytest.param(
            _graph(["s0", 4], dtype=ir.DataType.DOUBLE), "is DOUBLE in the graph", id="dtype"
        ),
        pytest.param(
            _graph([2, 4]),
            r"axis 0 .* is declared dynamic \(batch\), and came out fixed at 2",
            id="fixed",
        ),
        pytest.param(_graph(["s0", "s1"]), "axis 1 .* is not declared dynamic", id="dynamic"),
        pytest.param(_graph(["s0", 4, 1]), "has 3 dimensions", id="rank"),
    ],
)
def test_a_graph_that_is_not_as_asked_is_refused(graph, message):
    """Opset, names, types and axes are each checked."""
    x = Port(name="x", dtype=ir.DataType.FLOAT, dims=("batch", 4))
    y = Port(name="y", dtype=ir.DataType.FLOAT, dims=("batch", 4))

    with pytest.raises(ExportError, match=message):
        settle(graph, Target(inputs=(x,), outputs=(y,), shapes=()), 18)


def test_an_output_that_loses_an_axis_is_told_with_the_sizes(bench):
    """`squeeze()` takes the batch away where it is 1."""
    bench.write(
        "net.py",
        """
        from torch import nn

        class Net(nn.Module):
            def forward(self, x):
                return x.sum(1, keepdim=True).squeeze()
        """,
    )

    with pytest.raises(ExportError, match=r"2 at batch 2; a scalar at batch 1") as caught:
        bench.export("net.py:Net", X)

    assert "squeeze(1)" in str(caught.value.hint)


def test_a_cache_of_a_fixed_size_may_be_left_out():
    """Who did not ask for keys and values is told how to do without."""
    graph = _graph(["s0", 4])
    graph.graph.outputs[0].name = "past_key_values.0.key"
    graph.graph.outputs[0].shape = ir.Shape([7, 4])
    x = Port(name="x", dtype=ir.DataType.FLOAT, dims=("batch", 4))
    cache = Port(name="past_key_values.0.key", dtype=ir.DataType.FLOAT, dims=(None, 4))

    with pytest.raises(ExportError, match="came out fixed at 7") as caught:
        settle(graph, Target(inputs=(x,), outputs=(cache,), shapes=()), 18)

    assert "outputs: [logits]" in str(caught.value.hint)


def test_symbols_are_renamed_everywhere():
    """The exporter's names of dimensions give way to the declared ones, in expressions too."""
    x = Port(name="x", dtype=ir.DataType.FLOAT, dims=("batch", 4))
    y = Port(name="y", dtype=ir.DataType.FLOAT, dims=("batch", None))
    graph = _graph(["s0", 4])
    graph.graph.outputs[0].shape = ir.Shape(["s0", "2*s0 + s01"])

    settle(graph, Target(inputs=(x,), outputs=(y,), shapes=()), 18)

    assert [size.value for size in graph.graph.outputs[0].shape] == ["batch", "2*batch + s01"]


def test_every_tensor_is_accounted_for():
    """Exact, tied, transposed, reshaped, cast, folded and unused tensors are told apart."""
    torch.manual_seed(0)
    weight, wide, other = torch.randn(3, 5), torch.randn(4, 4), torch.randn(6)
    state = {
        "exact": weight, "tied": weight, "transposed": torch.randn(2, 7), "reshaped": torch.randn(8),
        "cast": wide, "folded": other, "unused": torch.randn(9),
    }  # fmt: skip
    graph = _graph([3])
    arrays = {
        "a": weight.numpy(),
        "b": np.ascontiguousarray(state["transposed"].numpy().T),
        "c": state["reshaped"].numpy().reshape(2, 4),
        "d": wide.numpy().astype(np.float16),
    }
    for name, array in arrays.items():
        graph.graph.initializers[name] = ir.Value(
            name=name, const_value=ir.Tensor(array, name=name)
        )

    found = cover(state, graph, lambda: [state["unused"] + 1, other * 2][1:])

    names = ["tied", "transposed", "reshaped", "cast", "folded", "unused"]
    assert {kind: found[kind] for kind in names} == {kind: [kind] for kind in names}
    assert (found["tensors"], found["exact"]) == (7, 1)


def test_a_fixed_dimension_is_told_from_the_others():
    """Of several dimensions the one is named at which the graph fails."""
    shapes = [
        {"name": "trace", "sizes": {"a": 2, "b": 3}},
        {"name": "a least", "sizes": {"a": 1, "b": 3}},
        {"name": "b least", "sizes": {"a": 2, "b": 1}},
    ]
    problem = Problem(kind="shape", index=2, text="the shape is another")

    with pytest.raises(ExportError, match=r"dimension b \(traced at 3\) came out fixed"):
        judge([problem], shapes, "torchscript", numbers=False)

    judge([Problem(kind="value", index=0, text="")], shapes, "torchscript", numbers=False)


def _save_onnx(path="m.onnx", opset=17, size="N"):
    weight = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    nodes = [onnx.helper.make_node("MatMul", ["a", "w"], ["b"], name="product")]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [info("a", 1, [size, 4])], [info("b", 1, [size, 4])], [weight]
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8
    )
    onnx.save(model, path)


def test_an_onnx_file_gets_the_recipes_names(bench):
    """A file keeps its opset unless one is asked for, and takes names and dynamic axes."""
    _save_onnx()

    kept = bench.export({"onnx": "m.onnx"}, X, outputs=["y"])
    converted = bench.export({"onnx": "m.onnx"}, X, outputs=["y"], opset=20)

    assert kept.model.opset_imports[""] == 17
    assert kept.shapes() == {"x": ["batch", 4], "y": ["batch", 4]}
    assert kept.worst() == 0
    assert converted.model.opset_imports[""] == 20


def test_onnx_files_that_cannot_be_used(bench):
    """Missing, damaged and unconvertible files, and options that need PyTorch, are said as such."""
    _save_onnx()
    _save_onnx("fixed.onnx", size=2)
    bench.write("bad.onnx", "nonsense")

    for model, message in [
        ({"onnx": "none.onnx"}, "there is no file none.onnx"),
        ({"onnx": "bad.onnx"}, "not an ONNX model"),
        ({"onnx": "fixed.onnx"}, "fixes axis 0 of its input 'a' at 2, and the recipe asks for 1"),
    ]:
        with pytest.raises(ModelError, match=message):
            bench.export(model, X)
    with pytest.raises(ModelError, match="has 2 inputs"):
        bench.export({"onnx": "m.onnx"}, X | {"z": {"shape": [1]}})
