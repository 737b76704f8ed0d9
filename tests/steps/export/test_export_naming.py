"""Nodes are named after the module that they come from, whichever exporter wrote them."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch
from torch import nn

from onnxbuild.steps.export import exporters
from onnxbuild.steps.export.naming import SCOPES, name_nodes

MODULES = {"encoder", "encoder.0", "encoder.0.attn", "layers", "layers.1", "head"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("/encoder/encoder.0/attn/Relu", "encoder.0.attn/Relu", id="called-container"),
        pytest.param("/layers.1/Relu_3", "layers.1/Relu", id="container-that-is-not-called"),
        pytest.param("/head/Relu", "head/Relu", id="child"),
        pytest.param("/Relu_7", "Relu", id="the-model-itself"),
        pytest.param("Relu_7", "Relu", id="no-scope"),
        pytest.param("/unknown/Relu", "Relu", id="no-such-module"),
    ],
)
def test_scopes_in_a_name_become_a_path(name, expected):
    """A trace writes the scopes of a node into its name."""
    assert _named(name) == [expected]


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        pytest.param("['', 'encoder', 'encoder.0', 'relu']", "encoder.0/Relu", id="module"),
        pytest.param("['', 'relu']", "Relu", id="the-model-itself"),
        pytest.param("['some_hook', 'relu']", "Relu", id="no-module"),
        pytest.param("not a list", "Relu", id="unreadable"),
    ],
)
def test_scopes_in_metadata_become_a_path(scopes, expected):
    """dynamo writes the paths of the modules around a node into its metadata."""
    assert _named("node_relu", scopes) == [expected]


def test_each_name_is_there_once():
    """Libraries take a node's name for unique."""
    assert _named("/head/Relu", count=3) == ["head/Relu", "head/Relu_2", "head/Relu_3"]


@pytest.mark.e2e
def test_both_exporters_give_the_same_names_to_the_same_layers(tmp_path):
    """What a recipe names works whichever exporter wrote the graph."""
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)).eval()
    value = torch.zeros(3, 4)
    path = str(tmp_path / "traced.onnx")

    with exporters.heard():
        torch.onnx.export(model, (value,), path, dynamo=False, opset_version=17)
        program = torch.onnx.export(
            torch.export.export(model, (value,)), (), dynamo=True, verbose=False
        )
    graphs = [ir.load(path), program.model]

    for graph in graphs:
        name_nodes(graph, {name for name, _ in model.named_modules() if name})
        names = [node.name for node in graph.graph if node.op_type != "Constant"]
        assert names == ["0.0/Gemm", "0.1/Relu", "1/Gemm"]


def _named(name: str, scopes: str = "", count: int = 1) -> list[str]:
    value = first = ir.Value(name="x")
    nodes = []
    for _ in range(count):
        node = ir.Node("", "Relu", [value], name=name)
        if scopes:
            node.metadata_props[SCOPES] = scopes
        value = node.outputs[0]
        nodes.append(node)
    model = ir.Model(ir.Graph([first], [value], nodes=nodes, opset_imports={"": 18}), ir_version=10)
    name_nodes(model, MODULES)
    return [str(node.name) for node in model.graph]
