"""The built-in rules of the graph level: what they make of a graph, to the letter, and that its numbers stay.

After a change on purpose: ``ONNXBUILD_WRITE_SNAPSHOTS=1 pytest tests/rules/test_rules_graphs.py``, and read the
difference of the ``after.onnxtxt``.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import parser, printer

from onnxbuild.errors import ExportError

HERE = Path(__file__).parent

OPTIONS = {"rename": {"dims": {"s0": "batch"}, "values": {"first": "weight", "val_0": "scaled"}}}
RULES = sorted(path.parent.name for path in HERE.glob("*/before.onnxtxt"))
SIZES = {"n": 2, "s": 3, "t": 5, "k": 2, "s0": 2}
FIRED = {"fuse_gelu": 3, "remove_asserts": 3, "rename": 3}
"""How often each fires on its example; the others as the rule says."""


def read(rule, name):
    model = parser.parse_model((HERE / rule / f"{name}.onnxtxt").read_text())
    return ir.from_proto(model)


def apply(rule, model, **options):
    module = import_module(f"onnxbuild.rules.{rule}.run")
    return module.apply(model, OPTIONS.get(rule, {}) | options)


def run(model):
    proto = ir.to_proto(model)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    generator = np.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [SIZES.get(size, size) if isinstance(size, str) else size for size in value.shape]
        shape = [2 if isinstance(size, str) else size for size in shape]
        feeds[value.name] = generator.standard_normal(shape).astype(np.float32)
    return session.run(None, feeds)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_makes_of_a_graph_what_it_says(rule):
    """The graph after the rule, as text; and the rule says where it fired."""
    model = read(rule, "before")

    places = apply(rule, model)

    text = printer.to_text(ir.to_proto(model)) + "\n"
    path = HERE / rule / "after.onnxtxt"
    if os.environ.get("ONNXBUILD_WRITE_SNAPSHOTS"):
        path.write_text(text)
    assert text == path.read_text()
    assert len(places) == FIRED.get(rule, len(places)) > 0
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "remove_asserts"])
def test_a_rule_keeps_the_numbers(rule):
    """A runtime gives the same for both, without optimizations of its own."""
    before, after = read(rule, "before"), read(rule, "before")

    apply(rule, after)

    for mine, theirs in zip(run(after), run(before), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_leaves_alone_what_is_no_such_pattern(rule):
    """What looks alike and computes something else stays as it is, and no place is named."""
    model = read(rule, "untouched")
    nodes = list(ir.to_proto(model).graph.node)

    assert apply(rule, model) == []
    assert list(ir.to_proto(model).graph.node) == nodes


@pytest.mark.parametrize(
    "rule", ["fuse_attention", "fuse_gelu", "fuse_layer_norm", "fuse_rms_norm"]
)
def test_an_operator_that_the_opset_lacks_is_refused(rule):
    """No graph with an operator from a later opset; the message names the opset."""
    model = read(rule, "before")
    model.opset_imports[""] = 13

    with pytest.raises(ExportError, match="and the graph has 13"):
        apply(rule, model)


def test_onnxruntime_has_an_rms_norm_of_its_own():
    """Below opset 23, where the recipe allows it."""
    model = read("fuse_rms_norm", "before")
    model.opset_imports[""] = 18
    model.ir_version = 8

    apply("fuse_rms_norm", model, target="onnxruntime")

    assert [node.op_type for node in model.graph].count("SimplifiedLayerNormalization") == 2
    for mine, theirs in zip(run(model), run(read("fuse_rms_norm", "before")), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_name_that_is_taken_is_refused():
    """Two values of one name would be one."""
    with pytest.raises(ExportError, match="another value has that name"):
        apply("rename", read("rename", "before"), values={"first": "val_0"})


@pytest.mark.parametrize(("name", "section"), [("x", "inputs"), ("y", "outputs")])
def test_inputs_and_outputs_are_named_in_one_place(name, section):
    """Whoever would rename one by the rule is told where its name comes from."""
    with pytest.raises(ExportError, match=f"`{section}` gives it"):
        apply("rename", read("rename", "before"), values={name: "image"})


NET = """
    import math
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.full([4], 2.0))
            self.bias = nn.Parameter(torch.ones(4))

        def forward(self, x):
            apart = x - x.mean(-1, keepdim=True)
            root = torch.sqrt(apart.pow(2).mean(-1, keepdim=True) + 1e-6)
            y = self.scale * (apart / root) + self.bias
            z = self.scale * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6))
            scores = z @ z.transpose(-1, -2) / math.sqrt(4)
            w = torch.softmax(scores, -1) @ z
            return 0.5 * w * (1 + torch.tanh(math.sqrt(2 / math.pi) * (w + 0.044715 * torch.pow(w, 3.0))))
"""


@pytest.mark.e2e
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_what_either_exporter_writes_is_fused(bench, exporter):
    """Formulas as people write them come out as the operators that they are, with their numbers."""
    names = ["fuse_layer_norm", "fuse_rms_norm", "fuse_attention", "fuse_gelu"]
    rules = [
        {
            "name": name,
            "level": "graph",
            "run": f"onnxbuild.rules.{name}.run:apply",
            # Of what dynamo's own optimizer has fused, nothing is left to do.
            "options": {"optional": True},
        }
        for name in names
    ]
    bench.write("net.py", NET)

    result = bench.export(
        "net.py:Net", {"x": {"shape": ["batch", 2, "sequence", 4]}},
        exporter=exporter, opset=23, replace=rules,
    )  # fmt: skip

    assert sum(item["count"] for item in result.notes["rules"]) >= 3
    assert {*result.operators()} == {"LayerNormalization", "RMSNormalization", "Attention", "Gelu"}
    assert result.worst() < 1e-4
