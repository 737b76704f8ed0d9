"""Nodes that a recipe chooses by name, glob or module path."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnxbuild.errors import StageError
from onnxbuild.graph.select import matches, select_names

NAMES = (
    "encoder.layers.3/Add",
    "encoder.layers.3.linear1/MatMul",
    "encoder.layers.30.linear1/MatMul",
    "model.lm_head/MatMul",
    "Softmax",
)


def make_model() -> ir.Model:
    """Make a chain of nodes with the names above."""
    value = first = ir.Value(name="x")
    nodes = []
    for number, name in enumerate(NAMES):
        node = ir.Node("", "Relu", [value], name=name)
        value = node.outputs[0]
        value.name = f"v{number}"
        nodes.append(node)
    graph = ir.Graph([first], [value], nodes=nodes, opset_imports={"": 18})
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        pytest.param("Softmax", NAMES[4:], id="name"),
        pytest.param("*lm_head*", NAMES[3:4], id="glob"),
        pytest.param("encoder.layers.3", NAMES[:2], id="module"),
        pytest.param("encoder", NAMES[:3], id="outer-module"),
        pytest.param("encoder.layers.?", NAMES[:2], id="glob-of-modules"),
        pytest.param("*/MatMul", NAMES[1:4], id="operator"),
        pytest.param("layers.3", (), id="not-from-the-middle"),
        pytest.param("Soft", (), id="no-prefix"),
    ],
)
def test_a_pattern_is_a_name_a_glob_or_a_module(pattern, chosen):
    """A module's path chooses what is in it, and nothing beside it."""
    assert tuple(name for name in NAMES if matches(name, pattern)) == chosen


def test_chosen_nodes_come_once_in_the_order_of_the_graph():
    """Overlapping patterns choose a node once."""
    patterns = ["Softmax", "encoder.layers.3", "*layers.3/*"]

    assert select_names(make_model(), patterns, option="o") == [*NAMES[:2], "Softmax"]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        pytest.param("encoder.layer.3", "did you mean 'encoder.layers.3'?", id="near"),
        pytest.param("zzz", "a node's name, a glob, or a module: encoder, model", id="far"),
    ],
)
def test_a_pattern_that_chooses_nothing_is_an_error(pattern, hint):
    """It is a typo more often than not, so it says which option, and what there is."""
    with pytest.raises(StageError, match=r"nodes_to_exclude: '.*' chooses no node") as caught:
        select_names(make_model(), [pattern], option="nodes_to_exclude")

    assert hint in (caught.value.hint or "")
