"""Where a variant departs, and what would cure it, told with a missed gate."""

from __future__ import annotations

import pytest

from onnxbuild.core.step import Output, Step
from onnxbuild.planner import Variant
from onnxbuild.recipe.schema import Model, Verify
from onnxbuild.report.finding import Finding
from onnxbuild.report.locating import find_first_bad
from onnxbuild.stages.custom.spec import Custom
from onnxbuild.stages.float16.spec import Float16
from onnxbuild.stages.onnxoptimizer.spec import OnnxOptimizer
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic
from onnxbuild.steps.reference.spec import ReferenceOptions

SAMPLING = Step(run="a:samples", label="samples", outputs=("samples", "shapes"))
EXPORT = Output(Step(run="a:export", label="export"))
SLIM = Output(Step(run="a:slim", label="slim", inputs={"model": EXPORT}))
NUMBERS = Finding(
    what="cosine", asked="", measured="", passed=False, numbers=True, hint="allow more"
)
SIZE = Finding(what="size", asked="", measured="", passed=False)


def shape(name, scaled):
    return {"name": name, "outputs": {"y": {"scaled": scaled}}}


def fidelity(source):
    options = ReferenceOptions(model=source)
    expected = Step(run="a:reference", label="reference", options=options, outputs=("reference",))
    inputs = {name: Output(SAMPLING, name) for name in ("samples", "shapes")}
    inputs["reference"] = Output(expected, "reference")
    step = Step(run="a:verify", label="verify", inputs=inputs, outputs=("fidelity",))
    return Output(step, "fidelity")


def find(missed, shapes, model=SLIM, stage=None, onnx=None, choices=None):
    """Give the hints, and the samples at which nodes were looked at."""
    asked = []

    def read(output):
        asked.append(output.step.options.sample)
        errors = (0.001, 0.3, 0.6)
        nodes = [
            {
                "node": f"layers.{i}/Conv", "operator": "Conv", "scaled": error,
                "came_in": 0.0 if i == 0 else errors[i - 1], "low": -1.0, "high": 2.0,
            }
            for i, error in enumerate(errors)
        ]  # fmt: skip
        return {"nodes": nodes, "end": 0.6, "choices": choices}

    variant = Variant(
        recipe="r", name="v", precision="fp32", gates=Verify(), model=model, exported=EXPORT, source=EXPORT,
        fidelity=fidelity(Model(onnx=onnx) if onnx else Model(entry="a.py:b")), stage=stage,
    )  # fmt: skip
    found = find_first_bad(variant, missed, {"shapes": shapes}, read)
    return [item.hint for item in found], asked


def test_the_node_where_it_departs_is_told():
    """At the sample that is worst, in front of what there was to say already."""
    hints, asked = find([NUMBERS, SIZE], [shape("example", 0.1), shape("most", 0.5)])

    assert asked == ["most"]
    assert hints[0] == (
        "it departs from the exported model at 'layers.1/Conv' (Conv) in the module layers.1: off by 0.3 of its"
        " largest value, where 0.001 came in; the exported model's values there are from -1 to 2; allow more"
    )
    assert hints[1] == ""


@pytest.mark.parametrize(
    ("stage", "cure"),
    [
        pytest.param(Float16(), "`node_block_list: [layers.1/Conv]`, or `mode: mixed`", id="float16"),
        pytest.param(Float16(mode="mixed"), "`node_block_list: [layers.1/Conv]`;", id="mixed already"),
        pytest.param(
            QuantizeDynamic(per_channel=False), "`per_channel: true`, or `nodes_to_exclude: [layers.1/Conv]`",
            id="dynamic",
        ),
        pytest.param(
            QuantizeStatic(data="d", per_channel=True), "`nodes_to_exclude: [layers.1/Conv]`", id="static"
        ),
        pytest.param(OnnxOptimizer(), "`passes` without the one that rewrites it", id="onnxoptimizer"),
        pytest.param(Custom(function="a.py:f"), "a look at what a.py:f does there", id="custom"),
    ],
)  # fmt: skip
def test_what_would_cure_it_is_told_in_the_stages_words(stage, cure):
    """As a recipe writes it under the stage."""
    hints, _ = find([NUMBERS], [shape("example", 0.5)], stage=stage)

    assert f"what may cure it: {cure}" in hints[0]


def choices(scaled):
    nodes = [{"node": "layers.1.gate/TopK", "operator": "TopK", "differ": 3, "of": 96}]
    return {"nodes": nodes, "same": {"scaled": scaled, "cosine": 0.9999}}


def test_choices_that_turn_over_are_told_with_what_is_left_without_them():
    """How many, where, and what can be done: no list of nodes helps there."""
    found = choices(0.001)

    hints, _ = find([NUMBERS], [shape("example", 0.5)], stage=Float16(), choices=found)

    assert hints[0].startswith(
        "choices by close scores turn over, 3 of 96 at 'layers.1.gate/TopK' (TopK in the module layers.1.gate): with"
        " the exported model's choices the error would be 0.001 (cosine 0.9999)."
    )
    assert "`mode: mixed`" in hints[0]
    assert "`metric`" in hints[0]


def test_choices_are_not_blamed_for_what_is_off_without_them():
    """Then the node is told where it departs, as else."""
    hints, _ = find([NUMBERS], [shape("example", 0.5)], stage=Float16(), choices=choices(0.4))

    assert hints[0].startswith("it departs from the exported model at 'layers.1/Conv'")


@pytest.mark.parametrize(
    ("missed", "shapes"),
    [
        pytest.param([SIZE], [shape("example", 0.5)], id="no gate of numbers"),
        pytest.param([NUMBERS], [shape("example", None)], id="no finite numbers"),
    ],
)
def test_nothing_is_looked_for_where_nothing_can_be_found(missed, shapes):
    """No step is run in vain."""
    hints, asked = find(missed, shapes)

    assert asked == []
    assert hints == [item.hint for item in missed]


def test_an_export_is_held_against_the_modules_of_pytorch():
    """It has no exported model before it."""
    hints, asked = find([NUMBERS], [shape("example", 0.5)], EXPORT)

    assert asked == ["example"]
    assert hints[0].startswith("the graph departs from PyTorch in the module layers.1/Conv (Conv)")


def test_an_onnx_file_has_no_modules_to_look_at():
    """Where the recipe starts from one, its export is that file."""
    hints, asked = find([NUMBERS], [shape("example", 0.5)], EXPORT, onnx="a.onnx")

    assert (hints, asked) == (["allow more"], [])


def test_an_error_that_does_not_show_inside_is_not_located():
    """Results that are looked at one by one may come out otherwise than fused ones."""
    hints, _ = find([NUMBERS], [shape("example", 10.0)])

    assert hints == ["allow more"]
