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
