"""A rule that changes numbers is named, with the figures with it and without."""

from __future__ import annotations

import pytest

from onnxbuild.errors import ExportError, ModelError
from onnxbuild.steps.export.blame import find_guilty

pytestmark = pytest.mark.e2e

NET = """
    import torch
    from torch import nn

    class Swish(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    def build():
        return nn.Sequential(nn.Linear(4, 4), Swish(), nn.Linear(4, 4), nn.Tanh())

    def same(old):
        return nn.SiLU()

    def near(model):
        model[2].weight.data *= 1.01
        return 1

    def far(model):
        model[2].weight.data *= 3
        return 1
"""

OPS = """
    def exact(op, x):
        return op.Tanh(x)

    def wrong(op, x):
        return op.Mul(x, 2.0)

    def renamed(model):
        return [node.name for node in model.graph if node.op_type == "Tanh"]
"""

X = {"x": {"shape": ["batch", 4]}}

SAME = {
    "name": "same",
    "level": "module",
    "run": "onnxbuild.rules.module.run:apply",
    "options": {"module": "net.py:Swish", "with": "net.py:same"},
}


def custom(name):
    run = "onnxbuild.rules.custom.run:apply"
    return {
        "name": name, "level": "module", "run": run, "options": {"function": f"net.py:{name}"},
    }  # fmt: skip


def tanh(function):
    options = {"operator": "aten::tanh", "with": f"ops.py:{function}"}
    run = "onnxbuild.rules.operator.run:apply"
    return {"name": function, "level": "operator", "run": run, "options": options}


def export(bench, *rules, **options):
    bench.write("net.py", NET)
    bench.write("ops.py", OPS)
    bench.write(
        "seeded.py",
        "import torch, net\ndef build():\n    torch.manual_seed(0)\n    return net.build()\n",
    )
    return bench.export("seeded.py:build", X, replace=list(rules), opset=17, **options)


def test_the_rule_that_changes_numbers_is_named(bench):
    """Of two module rules, the one without which the graph is right; the step passes it on to `verify`."""
    result = export(bench, SAME, custom("near"))

    guilty = result.notes["guilty"]
    assert guilty["rule"] == "near"
    assert guilty["error"] > 0.001
    assert guilty["without"] < 0.0001


def test_a_wild_rule_fails_the_export_and_is_named(bench):
    """Where no exporter's graph is the model, the message says which rule did it."""
    # Which dynamo does not take: to see it with one exporter is enough.
    alone = {"custom_opsets": {"rules.test": 1}}

    with pytest.raises(ExportError, match=r"(?s)rule 'wrong' is to blame.*without it"):
        export(bench, SAME, tanh("wrong"), **alone)


def test_nothing_is_blamed_where_the_numbers_are_right(bench):
    """Rules that keep the numbers leave no note."""
    result = export(bench, SAME, tanh("exact"), exporter="torchscript")

    assert "guilty" not in result.notes


def test_a_rule_without_which_the_model_fails_is_passed_over():
    """To look for who is to blame never fails an export: what cannot be tried is left out."""

    def without(name):
        if name == "needed":
            raise ModelError("the model fails")
        return 0.001

    assert find_guilty(["needed", "far"], 0.5, without) == {
        "rule": "far",
        "error": 0.5,
        "without": 0.001,
    }


def test_a_built_in_rule_steps_in_where_the_exporter_has_nothing(bench):
    """Attention in opset 13: by itself, told of, and not where the recipe forbids it."""
    bench.write(
        "attend.py",
        """
        import torch
        from torch import nn

        class Attend(nn.Module):
            def forward(self, x):
                return nn.functional.scaled_dot_product_attention(x, x, x)
        """,
    )
    inputs = {"x": {"shape": ["batch", 2, "sequence", 4]}}

    result = bench.export("attend.py:Attend", inputs, opset=13, exporter="torchscript")

    (fired,) = result.notes["rules"]
    assert (fired["rule"], fired["count"]) == ("plain_attention", 1)
    assert "scaled_dot_product_attention" in fired["why"]
    assert result.worst() < 1e-5
    with pytest.raises(ExportError, match="scaled_dot_product_attention"):
        bench.export("attend.py:Attend", inputs, opset=13, exporter="torchscript", auto_rules=False)
