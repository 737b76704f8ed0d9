"""Module rules that step in where an export fails without them."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from torch import nn

from onnxbuild.errors import ExportError
from onnxbuild.recipe.schema import Model
from onnxbuild.steps.export import exporters, subject
from onnxbuild.steps.export.rules import Rules
from onnxbuild.steps.export.spec import ExportOptions
from onnxbuild.steps.export.target import Port, Target
from onnxbuild.steps.model.adapter import Adapter

pytestmark = pytest.mark.e2e

POOLED = """
    import torch
    from torch import nn

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.pool = nn.AdaptiveAvgPool2d((3, 2))
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            return self.head(self.pool(x).flatten(1))
"""
X = {"x": {"shape": ["batch", 2, "height", "width"]}}
SIZES = {
    "batch": {"min": 1, "max": 3},
    "height": {"min": 5, "max": 12, "trace": 6},
    "width": {"min": 5, "max": 12, "trace": 7},
}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_pooling_to_a_grid_holds_at_every_size_without_being_asked(bench, exporter):
    """Both exporters fail at it; the rule steps in, and the notes say which, where and why."""
    bench.write("net.py", POOLED)

    result = bench.export("net.py:Pooled", X, dims=SIZES, exporter=exporter)

    assert result.worst() < 1e-5
    (rule,) = result.notes["rules"]
    assert (rule["rule"], rule["count"]) == ("adaptive_pool", 1)
    assert rule["why"].startswith(f"{exporter}: ")


def subject_of(bench, model):
    bench.sample({"x": {"shape": [2]}})
    work = bench.work({}, {"samples": bench.artifacts["samples"]}, ())
    port = Port(name="x", dtype=ir.DataType.FLOAT, dims=(2,))
    target = Target(inputs=(port,), outputs=(), shapes=())
    options = ExportOptions(model=Model(), outputs=("y",))
    return subject.Subject(work, options, target, Adapter(model, ["x"], ("y",)), Rules(()))


def test_a_rule_runs_the_model_whatever_its_outputs_are_called(bench):
    """The model's own name of an output may be that of an input: the recipe gives it another."""

    class Named(nn.Module):
        def forward(self, x):
            return {"x": x + 1}

    whole = subject_of(bench, Named())

    whole.run(whole.adapter.model)
    assert list(whole.adapter.predict(whole.trace)) == ["y"]


@pytest.mark.parametrize("fails", ["rule", "model"])
def test_rules_that_fail_are_not_tried_again(bench, monkeypatch, capsys, fails):
    """What they or the model raise does not hide why the export failed without; the next way is tried."""

    class Broken(nn.Module):
        def forward(self, x):
            raise IndexError("out of range")

    def help_export(model, taken, run, why):
        if fails == "rule":
            run(Broken())
        return Broken(), [{"rule": "scan_loops", "level": "module", "count": 1, "where": ["a"]}]

    monkeypatch.setattr(subject, "help_export", help_export)
    whole = subject_of(bench, nn.ReLU())

    assert subject.help_subject(whole, "dynamo: fails") is None
    assert "out of range" in capsys.readouterr().out
    assert whole.rules.notes() == {}


SMALL = """
    import torch
    from torch import nn
    from torch.nn import functional

    class Small(nn.Module):
        def forward(self, x, kernels):
            batch, channels, height, width = x.shape
            image = x.reshape(1, batch * channels, height, width)
            kernels = kernels.view(batch * 3, channels, 3, 3)
            own = functional.conv2d(image, kernels, padding=1, groups=batch)
            own = own.view(batch, 3, height, width) * torch.linspace(-1, height, width)
            steps = torch.diff(own, dim=2, prepend=own[:, :, :1])
            best = steps.take_along_dim(steps.argsort(-1)[..., :2], dim=-1)
            squares = own @ own.transpose(2, 3)
            small = squares[:, :, :3, :3] + 9 * torch.eye(3)
            return best, torch.linalg.solve(small, best[:, :, :3]), torch.linalg.slogdet(small)[1]
"""


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_functions_that_exporters_lack_are_written_with_others(bench, exporter):
    """Weights for each sample, as many values as a size, differences, choices and small systems hold at every size."""
    bench.write("net.py", SMALL)

    result = bench.export(
        "net.py:Small",
        X | {"kernels": {"shape": ["batch", 3, 2, 3, 3]}},
        dims=SIZES,
        exporter=exporter,
    )

    assert result.worst() < 1e-3
    (rule,) = [rule for rule in result.notes["rules"] if rule["rule"] == "plain_functions"]
    assert rule["count"] == 5


def test_a_failure_that_no_rule_is_for_stays_what_it_was(bench):
    """Where nothing is found to help with, nothing is tried again and the first message is told."""
    bench.write(
        "net.py",
        """
        import torch

        class Net(torch.nn.Module):
            def forward(self, x):
                return x + 1 if bool(x.sum() > 0) else x - 1
        """,
    )

    with pytest.raises(ExportError) as caught:
        bench.export("net.py:Net", {"x": {"shape": ["batch", 4]}}, exporter="dynamo")

    assert "rules" not in str(caught.value)
    assert "decides by values" in str(caught.value)


MIXED = """
    import torch
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils import parametrizations

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 4, 1)
            self.linear = parametrizations.orthogonal(nn.Linear(4, 4))
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, image):
            small = functional.adaptive_avg_pool2d(self.conv(image), (3, 2))
            row = self.linear(small.flatten(2).transpose(1, 2))
            return self.attention(row, row, row, need_weights=False)[0]
"""

IMAGE = {"image": {"shape": ["batch", 2, "height", "width"]}}
ROOM = {
    name: {"min": 4, "max": 19, "trace": size} for name, size in {"height": 6, "width": 9}.items()
}


@pytest.mark.parametrize(("exporter", "opset"), [("dynamo", 18), ("torchscript", 11)])
def test_an_export_that_fails_is_tried_with_rules(bench, exporter, opset):
    """What no recipe asked for is in the notes, with the reason; and the model holds at every size."""
    bench.write("net.py", MIXED)

    exported = bench.export("net.py:Net", IMAGE, dims=ROOM, exporter=exporter, opset=opset)

    assert exported.worst() < 1e-5
    fired = {rule["rule"]: rule for rule in exported.notes["rules"]}
    assert fired["adaptive_pool"]["where"] == ["(the model) (net.py:16)"]
    assert fired["parametrizations"]["where"] == ["linear.weight"]
    assert "multihead_attention" in fired
    for rule in fired.values():
        assert rule["why"].startswith(f"{exporter}: ")
    assert bench.tried == [f"export with {exporter} and rules"]
    assert [attempt["exporter"] for attempt in exported.notes["attempts"]] == [
        exporter, f"{exporter} and rules",
    ]  # fmt: skip


def test_an_export_that_works_is_left_alone(bench):
    """A model that exports is not changed, though rules would match it."""
    bench.write(
        "net.py", MIXED.replace("parametrizations.orthogonal(nn.Linear(4, 4))", "nn.Linear(4, 4)")
    )

    exported = bench.export(
        "net.py:Net", {"image": {"shape": ["batch", 2, 6, 4]}}, exporter="dynamo"
    )

    assert "rules" not in exported.notes
    assert "AveragePool" in exported.operators()


def test_a_compiled_model_fails_as_it_did(bench):
    """A compiled model has no Python to replace calls in, and the message is the exporter's."""
    bench.write(
        "net.py",
        """
        import warnings
        import torch
        from torch import nn

        def build():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d((3, 2))))
        """,
    )

    with pytest.raises(ExportError, match="input size not accessible"):
        bench.export("net.py:build", IMAGE, dims=ROOM, exporter="torchscript")


def test_what_a_second_capture_raises_is_no_failure_of_its_own():
    """It is made to find the line that fixes a size; whatever it raises, the first failure is what is told."""
    target = Target(inputs=(), outputs=(), shapes=({"name": "trace", "sizes": {"batch": 3}},))

    def capture(*, named):
        raise TypeError(named)

    assert exporters._reopen(capture, target, ["batch"]) == (None, [])
