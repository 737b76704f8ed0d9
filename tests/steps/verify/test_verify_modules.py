"""Which module of PyTorch's an exported graph departs from."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.recipe.schema import Input, Model
from onnxbuild.report.locating import find_departure
from onnxbuild.steps.reference.spec import ReferenceOptions
from onnxbuild.steps.verify.modules import locate_modules
from onnxbuild.steps.verify.spec import LocateModulesOptions

MODEL = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.act = nn.Tanh()

    def forward(self, x):
        return self.act(self.linear(x)), x

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x, _ = block(x)
        return x
"""


def graph(bench, wrong=None):
    """The graph that an exporter would give, a weight of one block negated."""
    from onnxbuild.entries import load

    net = load("model.py:build")()
    nodes, weights = [], []
    for i, block in enumerate(net.blocks):
        weight = block.linear.weight.detach().numpy().T * (-1 if i == wrong else 1)
        weights += [
            numpy_helper.from_array(np.ascontiguousarray(weight), f"w{i}"),
            numpy_helper.from_array(block.linear.bias.detach().numpy(), f"b{i}"),
        ]
        before, after = f"h{i}" if i else "x", f"h{i + 1}" if i < 2 else "y"
        path = f"blocks.{i}"
        nodes += [
            helper.make_node("MatMul", [before, f"w{i}"], [f"p{i}"], name=f"{path}.linear/MatMul"),
            helper.make_node("Add", [f"p{i}", f"b{i}"], [f"s{i}"], name=f"{path}.linear/Add"),
            helper.make_node("Tanh", [f"s{i}"], [after], name=f"{path}.act/Tanh"),
        ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8]) for name in ("x", "y")
    ]
    made = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("wrong", "module"),
    [
        pytest.param(0, "blocks.0.linear", id="first"),
        pytest.param(2, "blocks.2.linear", id="last"),
        pytest.param(None, None, id="none"),
    ],
)
def test_the_module_is_named(bench, wrong, module):
    """The innermost that is called first; its range and what came in are told."""
    text = MODEL + "\n\ndef build():\n    torch.manual_seed(0)\n    return Net().eval()\n"
    with open("model.py", "w") as file:
        file.write(text)
    options = LocateModulesOptions(
        reference=ReferenceOptions(
            model=Model(entry="model.py:build"),
            inputs={"x": Input(shape=("batch", 8))},
            outputs=("y",),
        )
    )
    items = [{"x": np.ones((n, 8), np.float32)} for n in (1, 3)]
    inputs = {
        "exported": bench.model(graph(bench, wrong)),
        "samples": bench.arrays(items),
        "shapes": bench.value([{"name": "trace", "sizes": {}}, {"name": "example", "sizes": {}}]),
    }

    found = bench.json(bench.run(locate_modules, options, inputs)["errors"])

    assert [node["node"] for node in found["nodes"]][:3] == [
        "blocks.0.linear",
        "blocks.0.act",
        "blocks.0",
    ]
    node = find_departure(found["nodes"], found["end"] if wrong is not None else 0.0)
    assert (node and node["node"]) == module
    if wrong is None:
        assert max(node["scaled"] for node in found["nodes"]) < 1e-6
    else:
        assert node["operator"] == "Linear"
        assert node["came_in"] < 1e-6 < node["scaled"]
