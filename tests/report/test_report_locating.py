"""The first node that is far off, told with a missed gate."""

from __future__ import annotations

import pytest

from onnxbuild.core.step import Output, Step
from onnxbuild.planner import Variant
from onnxbuild.recipe.schema import Verify
from onnxbuild.report.finding import Finding
from onnxbuild.report.locating import find_first_bad

SAMPLING = Step(run="a:samples", label="samples", outputs=("samples", "shapes"))
EXPORT = Output(Step(run="a:export", label="export"))
SLIM = Output(Step(run="a:slim", label="slim", inputs={"model": EXPORT}))
FIDELITY = Output(
    Step(
        run="a:verify",
        label="verify",
        inputs={name: Output(SAMPLING, name) for name in ("samples", "shapes")},
        outputs=("fidelity",),
    ),
    "fidelity",
)
NUMBERS = Finding(
    what="cosine", asked="", measured="", passed=False, numbers=True, hint="allow more"
)
SIZE = Finding(what="size", asked="", measured="", passed=False)


def shape(name, scaled):
    return {"name": name, "outputs": {"y": {"scaled": scaled}}}


def variant(model):
    return Variant(
        recipe="r", name="v", precision="fp32", gates=Verify(), model=model, exported=EXPORT, source=EXPORT,
        fidelity=FIDELITY, latency=None, metric=None, reference_metric=None,
    )  # fmt: skip


def find(missed, shapes, model=SLIM):
    """Give the hints, and the samples at which nodes were looked at."""
    asked = []

    def read(output):
        asked.append(output.step.options.sample)
        errors = (0.001, 0.3, 0.6)
        return {"nodes": [{"node": f"n{e}", "operator": "Conv", "scaled": e} for e in errors]}

    found = find_first_bad(variant(model), missed, {"shapes": shapes}, read)
    return [item.hint for item in found], asked


def test_the_first_node_that_is_as_far_off_is_told():
    """At the sample that is worst, in front of what there was to say already."""
    hints, asked = find([NUMBERS, SIZE], [shape("example", 0.1), shape("most", 0.5)])

    assert asked == ["most"]
    assert hints[0].startswith(
        "the first node that is far from the exported model's is 'n0.3' (Conv)"
    )
    assert hints[0].endswith("; allow more")
    assert hints[1] == ""


@pytest.mark.parametrize(
    ("missed", "shapes", "model"),
    [
        pytest.param([SIZE], [shape("example", 0.5)], SLIM, id="no gate of numbers"),
        pytest.param([NUMBERS], [shape("example", None)], SLIM, id="no finite numbers"),
        pytest.param([NUMBERS], [shape("example", 0.5)], EXPORT, id="the exported model itself"),
    ],
)
def test_nothing_is_looked_for_where_nothing_can_be_found(missed, shapes, model):
    """No step is run in vain."""
    hints, asked = find(missed, shapes, model)

    assert asked == []
    assert hints == [item.hint for item in missed]
