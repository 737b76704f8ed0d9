"""The table of what exporters say, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper, version_converter

from onnxbuild.steps.export.known import KNOWN, find_known, rules_for, say_known

PAGE = Path(__file__).parents[3] / "docs" / "export.md"


def test_the_page_has_the_table():
    """What it says of each failure is what is said; put the row below into docs/export.md where it is not."""
    page = PAGE.read_text()
    rows = [
        f"| {known.name} | {known.what} | {known.hint} |".replace("{{", "{").replace("}}", "}")
        for known in KNOWN
    ]

    assert [row for row in rows if row not in page] == []
    assert page.count("\n| ") == len(rows) + 2


def test_each_failure_has_a_name_of_its_own():
    """People look it up by that."""
    assert len({known.name for known in KNOWN}) == len(KNOWN)


@pytest.mark.parametrize(
    ("text", "name", "what"),
    [
        (
            (
                "UnsupportedOperatorError: Exporting the operator 'aten::bitwise_and' to ONNX opset version 17 is not"
                " supported. Support for this operator was added in version 18, try exporting with this version"
            ),
            "operator of a later opset",
            "bitwise_and at opset 17; it has one from opset 18 on",
        ),
        (
            (
                "DispatchError: No ONNX function found for <OpOverload(op='aten.grid_sampler_3d', overload='default')>."
                " Failure message: No decompositions registered for the real-valued input"
            ),
            "operator without a translation",
            "aten.grid_sampler_3d",
        ),
        (
            (
                "GraphConstructionError: Error when calling operator '::Conv' with args (…)\n"
                "TypeError: Unsupported attribute type: '<class 'torch.onnx._internal.exporter._tensors.SymbolicTensor'>'"
            ),
            "a number that follows from sizes",
            "where ONNX has a fixed one",
        ),
        (
            "UnsupportedOperatorException: aten._sparse_addmm.default",
            "operator that cannot be followed",
            "aten._sparse_addmm",
        ),
        (
            "RuntimeError: There was no fake impl registered for <CustomOpDef(mine::thrice)>. This is necessary",
            "custom operator without a fake implementation",
            "mine::thrice",
        ),
        (
            "Unsupported: using `torch.autograd.grad` with `torch._dynamo.config.trace_autograd_ops=False`",
            "gradients in forward",
            "computes gradients",
        ),
        (
            (
                "FAIL : Type Error: Type parameter (T) of Optype (Add) bound to different types (tensor(float) and"
                " tensor(double) in node (add)."
            ),
            "types that differ",
            "tensor(float) and tensor(double)",
        ),
        (
            "AttributeError: __torch__.torch.classes.quantized.LinearPackedParamsBase does not have a field with name",
            "a module that torch has quantized",
            "quantized by torch already (torch.classes.quantized.LinearPackedParamsBase)",
        ),
        (
            "UnsupportedOperatorError: ONNX export failed on an operator 'quantized::linear_dynamic'",
            "a module that torch has quantized",
            "quantized by torch already (quantized::linear_dynamic)",
        ),
        (
            "NOT_IMPLEMENTED : Could not find an implementation for Add(14) node with name 'add'",
            "no kernel in onnxruntime",
            "no kernel for Add",
        ),
    ],
)
def test_messages_are_known(text, name, what):
    """As torch 2.13 and onnxruntime 1.32 write them."""
    found = find_known(text)

    assert found is not None
    assert found[0].name == name
    assert what in say_known(*found)[0]


@pytest.mark.parametrize(
    ("operator", "inputs", "what", "hint"),
    [
        ("Relu", ["x"], "cannot convert Relu to an opset below 14", "opset: 14"),
        (
            "LayerNormalization",
            ["x", "y"],
            "has no LayerNormalization",
            "opsets LayerNormalization",
        ),
    ],
)
def test_what_onnx_cannot_convert_is_known(operator, inputs, what, hint):
    """As its converter says it."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xyz"]
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["z"])], "g", values[: len(inputs)], values[2:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])

    with pytest.raises(RuntimeError) as caught:
        version_converter.convert_version(model, 13)

    told, advice = say_known(*find_known(str(caught.value)))
    assert what in told
    assert hint in advice


def test_what_is_not_known_is_left_alone():
    """A message of the model's own code stays as it is."""
    assert find_known("ValueError: the sequence is too long") is None


def test_rules_are_found_by_operators():
    """The name of an operator leads to the rule that replaces it."""
    rules = ["grid_sample", "interpolate", "roll", "sync_batchnorm"]

    assert rules_for("aten::roll", rules) == ["roll"]
    assert rules_for("aten.grid_sampler_2d", rules) == ["grid_sample"]
    assert rules_for("prims.bessel_j0", rules) == []
    assert rules_for("aten::roll_over", rules) == []
