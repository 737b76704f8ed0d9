"""Rules of all three levels, as a recipe asks for them: applied, counted, and refused in words."""

from __future__ import annotations

import pytest
import torch

from onnxbuild.errors import ExportError

pytestmark = pytest.mark.e2e

LIBRARY = torch.library.Library("rules_test", "DEF")
LIBRARY.define("fast_gelu(Tensor x, float alpha=1.0, *, bool scaled=False) -> Tensor")


def fast_gelu(x, alpha=1.0, *, scaled=False):
    return x * torch.sigmoid(1.702 * alpha * x) * (2.0 if scaled else 1.0)


LIBRARY.impl("fast_gelu", fast_gelu, "CompositeExplicitAutograd")

NET = """
    import torch
    from torch import nn

    class FastGelu(nn.Module):
        def forward(self, x):
            return torch.ops.rules_test.fast_gelu(x, 2.0)

    class Scaled(nn.Module):
        def forward(self, x):
            return torch.ops.rules_test.fast_gelu(x, scaled=True)

    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 4), FastGelu(), FastGelu())

    def scaled():
        return Scaled()

    def plain():
        return nn.Linear(4, 4)
"""

OPS = """
    from onnxscript import opset9, opset15, script, values, FLOAT
    from onnxscript.rewriter import pattern

    def built(op, x, alpha=1.0):
        return op.Mul(x, op.Sigmoid(op.Mul(x, 1.702 * alpha)))

    def traced(x, alpha=1.0):
        return opset9.Mul(x, opset9.Sigmoid(x * (1.702 * alpha)))

    @script(values.Opset("rules.test", 1))
    def compiled(x: FLOAT[...], alpha: float = 1.0) -> FLOAT[...]:
        return opset15.Mul(x, opset15.Sigmoid(opset15.Mul(x, opset15.CastLike(1.702 * alpha, x))))

    def too_new(op, x, alpha=1.0):
        return op.Gelu(x)

    def wrong(op, x, alpha=1.0):
        return op.Mul(x, 3.0)

    def broken(op, x, alpha=1.0):
        return x.nothing

    def table(factor):
        return {"rules_test::fast_gelu": lambda op, x, alpha=1.0: op.Mul(x, op.Sigmoid(op.Mul(x, factor * alpha)))}

    gates = pattern.RewriteRule(
        lambda op, x, y: op.Mul(x, op.Sigmoid(y)),
        lambda op, x, y: op.Div(x, op.Add(op.Exp(op.Neg(y)), op.Constant(value_float=1.0))),
    )

    def rewritten(model, kind):
        return [node.name for node in model.graph if node.op_type == kind]
"""

X = {"x": {"shape": ["batch", 4]}}


@pytest.fixture
def files(bench):
    bench.write("net.py", NET)
    bench.write("ops.py", OPS)
    return bench


def operator(function, **options):
    return {
        "name": "gelu",
        "level": "operator",
        "run": "onnxbuild.rules.operator.run:apply",
        "options": {"operator": "rules_test::fast_gelu", "with": f"ops.py:{function}", **options},
    }


def graph(pattern, **options):
    return {
        "name": "gates",
        "level": "graph",
        "run": "onnxbuild.rules.pattern.run:apply",
        "options": {"pattern": f"ops.py:{pattern}", **options},
    }


@pytest.mark.parametrize(
    ("function", "exporter", "opset"),
    [
        # Written by a builder, for dynamo: with the patterns below.
        ("built", "torchscript", 9),
        ("traced", "torchscript", 13),
        ("compiled", "torchscript", 17),
        ("compiled", "dynamo", 18),
    ],
)
def test_one_function_translates_an_operator_for_both_exporters(files, function, exporter, opset):
    """A custom operator becomes the function's nodes, and the notes say in which modules."""
    result = files.export(
        "net.py:build", X, replace=[operator(function)], exporter=exporter, opset=opset
    )

    assert result.worst() < 1e-5
    assert result.notes["rules"] == [
        {"rule": "gelu", "level": "operator", "count": 2, "where": ["1", "2"]}
    ]


def test_a_callable_of_ones_own_may_say_what_operators_become(files):
    """A rule with `level: operator` is asked for a table, with its options."""
    rule = operator("") | {
        "run": "onnxbuild.rules.custom.run:translate",
        "options": {"function": "ops.py:table", "options": {"factor": 1.702}},
    }

    result = files.export("net.py:build", X, replace=[rule], exporter="torchscript")

    assert result.worst() < 1e-5


@pytest.mark.parametrize(
    ("rule", "entry", "said"),
    [
        (operator("too_new"), "net.py:build", "has no Gelu; it came with opset 20"),
        (operator("broken"), "net.py:build", "(?s)rule 'gelu' failed.*ops.py:"),
        (operator("built"), "net.py:scaled", "`scaled=True`, which the function"),
        (
            operator("built", operator="rules_test::none"),
            "net.py:plain",
            "no operator rules_test::none",
        ),
        (operator("built", operator="aten::roll"), "net.py:plain", "'gelu' matches nothing"),
    ],
)
def test_what_a_translation_cannot_do_is_said(files, rule, entry, said):
    """An operator of a newer opset, an error, an argument that is not taken, and no match name the rule."""
    with pytest.raises(ExportError, match=said):
        files.export(entry, X, replace=[rule], exporter="torchscript", opset=18)


def test_what_a_translation_says_gets_through_dynamo(files):
    """Which wraps it in words of its own."""
    with pytest.raises(ExportError, match=r"(?s)rule 'gelu' failed.*ops.py:"):
        files.export("net.py:build", X, replace=[operator("broken")], exporter="dynamo", opset=18)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_patterns_rewrite_what_either_exporter_wrote(files, exporter):
    """A rule of onnxscript's rewriter, and a function of one's own, after an operator rule."""
    rules = [
        operator("built"),
        graph("gates"),
        graph("rewritten", options={"kind": "Div"}) | {"name": "own"},
    ]

    result = files.export("net.py:build", X, replace=rules, exporter=exporter)

    assert "Sigmoid" not in result.operators()
    assert [(item["rule"], item["count"]) for item in result.notes["rules"]] == [
        ("gelu", 2), ("gates", 2), ("own", 2),
    ]  # fmt: skip
    assert result.worst() < 1e-5


def test_a_pattern_that_matches_nothing_is_an_error_unless_optional(files):
    """As with modules; the message names what the graph has."""
    nothing = {"kind": "Tan"}

    with pytest.raises(ExportError, match=r"(?s)'gates' matches nothing.*Gemm"):
        files.export(
            "net.py:build", X, replace=[operator("built"), graph("rewritten", options=nothing)],
            exporter="torchscript",
        )  # fmt: skip

    result = files.export(
        "net.py:build", X,
        replace=[operator("built"), graph("rewritten", options=nothing, optional=True)],
        exporter="torchscript",
    )  # fmt: skip
    assert result.notes["rules"][1]["count"] == 0


def test_graph_rules_work_on_an_onnx_file(files):
    """What a file holds is rewritten as what an exporter wrote."""
    exported = files.export("net.py:build", X, replace=[operator("built")], exporter="torchscript")
    with open(exported.path, "rb") as source, open("model.onnx", "wb") as target:
        target.write(source.read())

    result = files.export({"onnx": "model.onnx"}, X, replace=[graph("gates")])

    assert "Sigmoid" not in result.operators()
    assert result.notes["rules"][0]["count"] == 2
    assert result.worst() < 1e-5
