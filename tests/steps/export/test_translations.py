"""torch's table of translations is made once, and nobody notices but the clock."""

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture
def registry(monkeypatch):
    from torch.onnx._internal.exporter import _registration

    made = _registration.ONNXRegistry.__dict__["from_torchlib"]
    monkeypatch.setattr(_registration.ONNXRegistry, "from_torchlib", made)
    return _registration.ONNXRegistry


def test_a_kept_table_is_the_one_that_torch_makes(registry):
    """Targets, the functions behind them and the opset are the same."""
    from onnxbuild.steps.export.translations import keep_translations

    plain = registry.from_torchlib(opset_version=20)

    keep_translations()
    kept = registry.from_torchlib(opset_version=20)

    assert kept.opset_version == plain.opset_version == 20
    assert {
        name: [item.onnx_function for item in found] for name, found in kept.functions.items()
    } == {name: [item.onnx_function for item in found] for name, found in plain.functions.items()}


def test_what_a_model_has_registered_with_torchscript_is_there_afterwards():
    """A rule stands in its place for the time of an export; an export after it finds the model's own again."""
    import torch

    from onnxbuild.steps.export.automatic import registering, usual_symbolic

    def own(g, x):
        return x

    def rule(g, x):
        return x

    torch.onnx.register_custom_op_symbolic("mylib::kept", own, 13)
    try:
        with registering({"mylib::kept": rule, "mylib::new": rule}, 13):
            inside = [usual_symbolic(f"mylib::{name}", 13) for name in ("kept", "new")]
        after = [usual_symbolic(f"mylib::{name}", 13) for name in ("kept", "new")]
    finally:
        torch.onnx.unregister_custom_op_symbolic("mylib::kept", 13)

    assert inside == [rule, rule]
    assert after == [own, None]


def test_what_torch_says_is_told_where_a_rule_leaves_the_call(registry):
    """A rule that steps in for some calls of an operator only does not hide why torch's own translation fails."""
    import torch
    from onnxscript import evaluator, values
    from torch.onnx._internal.exporter._building import OpRecorder

    from onnxbuild.errors import ExportError
    from onnxbuild.steps.export.translations import Entry, added, keep_translations

    def leave(*_values):
        return NotImplemented

    keep_translations()

    def translate(overload, *, only_missing):
        with added([Entry(overload, leave, only_missing)]):
            table = registry.from_torchlib(opset_version=18)
        with evaluator.default_as(OpRecorder(values.Opset("", 18), {})):
            table.get_decomps(overload)[0].onnx_function("no tensor")

    for only_missing in (True, False):
        with pytest.raises(TypeError, match="shifts"):
            translate(torch.ops.aten.roll.default, only_missing=only_missing)
    with pytest.raises(ExportError, match=r"aten\.linalg_qr\.default does not translate"):
        translate(torch.ops.aten.linalg_qr.default, only_missing=False)


def test_a_table_is_made_once_for_each_opset_and_adding_to_one_leaves_the_next_alone(
    registry, monkeypatch
):
    """What one export registers is not there in the next."""
    from onnxbuild.steps.export.translations import keep_translations

    made = []
    make = registry.from_torchlib

    def counted(*, opset_version):
        made.append(opset_version)
        return make(opset_version=opset_version)

    monkeypatch.setattr(registry, "from_torchlib", counted)
    keep_translations()
    keep_translations()

    first = registry.from_torchlib(opset_version=18)
    name = next(iter(first.functions))
    before = len(first.functions[name])
    first.functions[name].append("added")
    again = registry.from_torchlib(opset_version=18)

    assert made == [18]
    assert len(again.functions[name]) == before
    assert registry.from_torchlib(opset_version=20).opset_version == 20
    assert made == [18, 20]
