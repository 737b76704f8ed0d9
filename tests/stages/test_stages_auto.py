"""`mode: auto`: the fewest nodes left out with which a target is met."""

import numpy as np
import pytest
from onnx import numpy_helper, parser

from onnxbuild.errors import StageError
from onnxbuild.graph.sparing.measuring import Distance
from onnxbuild.graph.sparing.ranking import Ranking
from onnxbuild.graph.sparing.spec import Target, choose_target
from onnxbuild.recipe.schema import Model, Recipe, Tolerance, Verify
from onnxbuild.recipe.stage import StageContext
from onnxbuild.stages.quantize_dynamic.spec import QuantizeDynamic
from onnxbuild.stages.quantize_static.spec import QuantizeStatic
from tests.stages.networks import ids, transformer

BAD = "layer.d/MatMul"
"""The node whose activations have an outlier."""


@pytest.fixture
def model(bench):
    bench.put_samples([ids(2, 5), ids(1, 2, seed=3), ids(3, 8, seed=4)], ["trace", "least", "most"])
    return bench.put(transformer(outlier=300.0))


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_the_node_that_loses_most_is_left_out(bench, cosine, model, kind):
    """It is found, it alone is left out, the target is met, and the curve says what each attempt gave."""
    data = bench.put_items([ids(seed=seed) for seed in range(20)])
    options = {"mode": "auto", "target": Target(cosine=0.995)}
    stage = QuantizeDynamic(**options) if kind == "dynamic" else QuantizeStatic(data="d", **options)

    small = bench.apply(stage, model, data)

    assert BAD in bench.notes["left_out"]
    counts = [point["left_out"] for point in bench.notes["curve"]]
    assert counts[0] == 0
    assert bench.notes["curve"][0]["met"] is False
    fewest = len(bench.notes["left_out"])
    assert fewest - 1 in counts
    for inputs in (ids(1, 2, seed=3), ids(3, 8, seed=4)):
        assert cosine(bench.run(small, inputs)[0], bench.run(model, inputs)[0]) >= 0.995


def test_nothing_is_left_out_where_nothing_needs_be(bench, model):
    """One attempt, with all nodes, is enough."""
    stage = QuantizeDynamic(mode="auto", target=Target(cosine=0.5))

    bench.apply(stage, model)

    assert bench.notes["left_out"] == {}
    assert len(bench.notes["curve"]) == 1


def test_a_target_that_no_attempt_meets_is_an_error(bench, model):
    """The best that was found is told, rather than published."""
    stage = QuantizeDynamic(mode="auto", target=Target(cosine=1, scaled=0))

    with pytest.raises(StageError, match="is not met; nearest is") as caught:
        bench.apply(stage, model)

    assert "target" in caught.value.hint


@pytest.mark.parametrize(
    ("verify", "target"),
    [
        pytest.param(Verify(), Target(cosine=0.99), id="nothing asked"),
        pytest.param(Verify(cosine=0.98), Target(cosine=0.98), id="of the variant"),
        pytest.param(
            Verify(cosine=0.98, outputs={"a": Tolerance(scaled=0.1), "b": Tolerance(cosine=0.999)}),
            Target(cosine=0.999, scaled=0.1),
            id="of outputs",
        ),
    ],
)
def test_what_verify_asks_is_aimed_at(verify, target):
    """The closest of all, or the search ends with what the gates refuse."""
    recipe = Recipe(name="r", model=Model(onnx="m"), folder="", verify={"it": verify})

    assert choose_target(None, StageContext(name="it", recipe=recipe, data=None)) == target


def test_a_model_of_whole_numbers_alone_is_refused(bench):
    """Every target would be met, since nothing is compared."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[batch, 64] x) => (int64[batch, 1] y) { s = MatMul(x, w)  y = ArgMax<axis = 1>(s) }"""
    model = parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))

    with pytest.raises(StageError, match="no floating numbers"):
        bench.apply(QuantizeDynamic(mode="auto"), bench.put(model), samples=[{"x": weight[:2]}])


@pytest.mark.parametrize(
    ("one", "reference", "broken"),
    [
        pytest.param([1, -np.inf], [1, -np.inf], False, id="a mask"),
        pytest.param([1, 2], [1, np.nan], True, id="number for none"),
        pytest.param([1, 2], [1, np.inf], True, id="number for infinity"),
        pytest.param([1, np.nan], [1, np.nan], True, id="none"),
        pytest.param([1, np.inf], [1, -np.inf], True, id="other infinity"),
    ],
)
def test_what_is_no_number_is_not_near(one, reference, broken):
    """Sums and maxima skip it without a word."""
    distance = Distance()

    distance.add(np.array(one, np.float32), np.array(reference, np.float32))

    assert distance.broken == broken


def test_a_budget_that_is_used_up_leaves_no_node_unranked():
    """Of what was not come to the mean of the others is believed."""
    calls = []

    def loss(group):
        calls.append(group)
        return 2.0 if "b" in group else 0.1

    ranking = Ranking.find(["a", "b", "c", "d"], loss, is_over=lambda: len(calls) >= 2)

    assert ranking.names == ("b", "c", "d", "a")
    assert ranking.alone == 2
    assert ranking.enough == 3


@pytest.mark.parametrize(
    ("slow", "residue", "enough"),
    [(False, 0.0, 3), (False, 0.2, 4), (True, 0.0, 3), (True, 0.2, 4)],
)
def test_what_nodes_lose_even_when_left_out_counts(slow, residue, enough):
    """More are left out at once where each keeps some of its loss, whether that is measured or added up."""
    losses = {"a": 1.0, "b": 0.8, "c": 0.4, "d": 0.4, "e": 0.3}
    calls = []

    def loss(group):
        calls.append(group)
        return sum(losses[name] for name in group)

    ranking = Ranking.find(
        [*losses], loss, is_over=lambda: slow and len(calls) >= len(losses), residue=residue
    )

    assert ranking.enough == enough
